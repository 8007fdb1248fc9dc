"""The artifact: the measured file with its manifest, in a folder that needs no Paring to run."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paring.artifacts.manifest import read_manifest, verify_artifact, write_manifest
from paring.core.candidate import Candidate
from paring.engines import machine


@dataclass(frozen=True)
class Artifact:
    """A folder with `model.onnx`, its entropy-coded form `model.paring` and `manifest.json`."""

    folder: Path

    @property
    def model(self) -> Path:
        """The file that runs in plain onnxruntime or openvino."""
        return self.folder / "model.onnx"

    @property
    def manifest(self) -> dict[str, Any]:
        """What it is, how it came about, what was measured of it. Raises CorruptFileError."""
        return read_manifest(self.folder)

    def verify(self) -> None:
        """Raises CorruptFileError unless every file is the one that was exported."""
        verify_artifact(self.folder)


TARGET = ("engine", "device", "precision", "threads", "batch_size", "static_shapes")


def write_artifact(
    candidate: Candidate, recipe_yaml: str, measured: Path, folder: Path, measurement: dict[str, Any]
) -> Artifact:
    """Copies the very file that was measured, `measured/model.onnx`, into `folder` and describes it there.

    The manifest's `target` is where the clock found the file fastest: engine, precision and the rest.
    """
    shutil.copyfile(measured / "model.onnx", folder / "model.onnx")
    if (measured / "model.paring").is_file():
        shutil.copyfile(measured / "model.paring", folder / "model.paring")
    (folder / "recipe.yaml").write_text(recipe_yaml, encoding="utf-8")
    write_manifest(
        folder,
        recipe=recipe_yaml,
        edits=[edit.to_json() for edit in candidate.edits],
        machine=machine(),
        declined=[[declined.layer, declined.reason] for declined in candidate.declined],
        node_map=json.loads((measured / "nodes.json").read_text(encoding="utf-8")),
        target={key: measurement[key] for key in TARGET},
        measurement=measurement,
    )
    return Artifact(folder)
