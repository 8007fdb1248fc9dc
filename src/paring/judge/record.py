"""Measurements on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from paring.core.candidate import Candidate
from paring.core.measurement import Measurement
from paring.errors import CorruptFileError

MODEL, NODES, SAMPLES, MEASUREMENT = "model.onnx", "nodes.json", "samples.npz", "measurement.json"
CODED = "model.paring"


@dataclass(frozen=True)
class Judged:
    """A candidate whose file lies in `folder`, and what was measured of that file."""

    candidate: Candidate
    folder: Path
    measurement: Measurement

    @property
    def model(self) -> Path:
        """The file itself."""
        return self.folder / MODEL


def save_measurement(measurement: Measurement, folder: Path) -> None:
    """Writes measurement.json."""
    (folder / MEASUREMENT).write_bytes(TypeAdapter(Measurement).dump_json(measurement, indent=1))


def load_measurement(folder: Path) -> Measurement:
    """What `save_measurement` wrote. Raises CorruptFileError."""
    path = folder / MEASUREMENT
    try:
        measurement: Measurement = TypeAdapter(Measurement).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFileError(f"{path}: cannot be read as a measurement. Remove {folder} to measure anew.") from error
    return measurement
