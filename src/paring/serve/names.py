"""What the models of a command line are called. Needs nothing that a server needs."""

from __future__ import annotations

import re
from pathlib import Path

from paring.errors import EngineError, SettingError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def named_paths(texts: list[str]) -> dict[str, Path]:
    """`["encoder=out/artifact", "out/small.onnx"]` -> name -> path; without a name that of the folder or file.

    Raises: SettingError for a name the protocol's paths cannot hold, or one given twice; EngineError for no such path.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, given, path_text = text.rpartition("=")
        path = Path(path_text)
        if not path.exists():
            raise EngineError(f"{path}: there is nothing there; give an artifact folder or an .onnx file.")
        if not given:
            name = path.resolve().stem if path.is_file() else _folder_name(path.resolve())
        if not NAME.fullmatch(name):
            raise SettingError(f"{text}: the name {name!r} must be letters, digits, . _ or -. Write NAME={path}.")
        if name in found:
            raise SettingError(f"{text}: the name {name!r} is given twice. Write NAME={path} with another name.")
        found[name] = path
    return found


def _folder_name(path: Path) -> str:
    """A run's artifact folder is called `artifact`; its run has the better name."""
    return path.parent.name if path.name == "artifact" else path.name
