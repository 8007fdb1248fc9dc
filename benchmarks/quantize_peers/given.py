"""What every peer reads: the calibration batches that Paring wrote, in their order. Needs numpy alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def batches(path: Path) -> list[dict[str, np.ndarray]]:
    """Input name -> array, batch by batch."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as archive:
        for key in archive.files:
            place, name = key.split("/", 1)
            found.setdefault(place, {})[name] = archive[key]
    return [found[place] for place in sorted(found)]


def told(**what: object) -> None:
    """The last line of a peer's output: what it did, for the row."""
    print(json.dumps(what), flush=True)
