"""`manifest.json`: what is in an artifact folder, how it came about, and a checksum of every file. Needs no torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paring.core.atomic import write_atomically
from paring.errors import CorruptFileError

MANIFEST = "manifest.json"
FORMAT = 1
LIBRARIES = ("paring", "torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy")
REQUIRED = ("format", "files", "recipe", "edits", "versions", "machine")


def write_manifest(
    folder: str | Path,
    *,
    recipe: Any,
    edits: Sequence[Mapping[str, Any]],
    machine: Mapping[str, Any],
    **more: Any,
) -> Path:
    """Writes the manifest of every file now in `folder` and returns its path.

    Args:
        recipe: as it stands in YAML.
        edits: what `Edit.to_json` gave.
        machine: what `paring.engines.machine` gave.
        more: further plain values, such as `measurements`, `declined`, `node_map`.
    Raises: ExportError if it cannot be written.
    """
    folder = Path(folder)
    content = {
        "format": FORMAT,
        "files": {name: _checksum(folder / name) for name in _names(folder)},
        "recipe": recipe,
        "edits": list(edits),
        "versions": versions(),
        "machine": dict(machine),
        **more,
    }
    write_atomically(folder / MANIFEST, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return folder / MANIFEST


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of `folder`. Raises CorruptFileError if it is missing or not one."""
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CorruptFileError(f"{path}: there is none, so {folder} is no artifact folder.") from None
    except ValueError as error:
        raise CorruptFileError(f"{path}: it is not JSON: {error}.") from error
    missing = [key for key in REQUIRED if not isinstance(content, dict) or key not in content]
    if missing:
        raise CorruptFileError(f"{path}: it has no {', '.join(missing)}; it was not written by Paring.")
    if content["format"] != FORMAT:
        raise CorruptFileError(f"{path}: its format is {content['format']}, and this Paring reads {FORMAT}.")
    manifest: dict[str, Any] = content
    return manifest


def verify_artifact(folder: str | Path) -> dict[str, Any]:
    """The manifest, after every file it lists was found whole. Raises CorruptFileError naming the file that is not."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, written in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CorruptFileError(f"{path}: the manifest lists it, and it is missing.")
        found = _checksum(path)
        if found != written:
            raise CorruptFileError(
                f"{path}: it is not the file that was exported (sha256 {found['sha256'][:12]}, {found['bytes']} bytes; "
                f"the manifest says {written['sha256'][:12]}, {written['bytes']} bytes). Export it again."
            )
    return manifest


def versions() -> dict[str, str]:
    """Name -> version of the libraries that shape a file and its timing, those installed."""
    installed = {}
    for name in LIBRARIES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _names(folder: Path) -> list[str]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != MANIFEST)


def _checksum(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}
