"""What every peer's search is asked: data, the score that may not fall, by how much, how long. Needs numpy alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "quantize_peers"))
from given import batches, told

__all__ = ["Asked", "asked", "told"]

Run = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Asked:
    """`validation` is (inputs, target) batch by batch; the score is higher for better and above 0."""

    folder: Path
    calibration: list[dict[str, np.ndarray]]
    validation: list[tuple[dict[str, np.ndarray], np.ndarray]]
    metric: str
    max_drop: float
    seconds: float
    is_transformer: bool

    def score(self, run: Run) -> float:
        """The mean over validation: accuracy, or the log likelihood of rates as `5 - loss`."""
        pairs = [(run(inputs), target) for inputs, target in self.validation]
        answers, targets = (np.concatenate(part) for part in zip(*pairs, strict=True))
        if self.metric == "accuracy":
            return float((answers.argmax(1) == targets).mean())
        log_rate = answers.reshape(-1).astype(np.float64)
        return 5.0 - float((np.exp(log_rate) - log_rate * targets.reshape(-1)).mean())


def asked(folder: Path) -> Asked:
    """Reads what benchmarks/search_peers.py wrote."""
    ask: dict[str, Any] = json.loads((folder / "ask.json").read_text())
    rows = batches(folder / "validation.npz")
    pairs = [({name: x for name, x in row.items() if name != "target"}, row["target"]) for row in rows]
    return Asked(folder, batches(folder / "calibration.npz"), pairs, **ask)
