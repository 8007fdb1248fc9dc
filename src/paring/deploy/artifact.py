"""What every hand-over needs to know of an artifact: its file, its tensors, its checksum."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paring.artifacts.manifest import verify_artifact
from paring.engines.protocol import InputSpec
from paring.errors import SettingError
from paring.serve.model import open_model

NAME = "abcdefghijklmnopqrstuvwxyz0123456789-"


@dataclass(frozen=True)
class Shipment:
    """An artifact that was verified and opened."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[InputSpec, ...]
    batchable: bool
    version: str

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"


def shipment(folder: Path, name: str) -> Shipment:
    """Verifies the checksums of `folder` and opens its file.

    Raises: CorruptFileError, EngineError; SettingError for a name that Kubernetes would not take.
    """
    if not name or set(name) - set(NAME) or name.startswith("-") or name.endswith("-") or len(name) > 50:
        raise SettingError(f"--name {name!r}: it must be lower-case letters, digits and -, as Kubernetes has it.")
    manifest = verify_artifact(folder)
    opened = open_model(folder)
    return Shipment(name, folder, manifest, opened.inputs, opened.outputs, opened.batchable, opened.version)


def empty_folder(out: Path) -> Path:
    """`out`, made if absent. Raises SettingError if anything lies in it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"--out {out}: it exists and is not empty. Choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    return out


def copy_model(ship: Shipment, to: Path) -> None:
    """The model's file, under another name."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ship.model, to)
