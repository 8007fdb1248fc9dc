"""The files of benchmarks/search.py example by example: what a joint one loses beside another, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from search_clock import dense_of, file_of
from torch import Tensor

from paring import Target, Task
from paring.allocate.losses import divergence, kind_of
from paring.engines import open_session
from paring.measure.quality import file_outputs
from paring.numerics.statistics import paired_drop_interval

JOINT = " / joint / "


def paired(task: Task, subject: str, rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Of every joint row and every other that loses less on validation: joint loss less the other's, low and high.

    On validation and test together, neither of which chose anything; in ONNX Runtime, fp32; 95 % intervals.
    """
    made = {name: row for name, row in rows.items() if "miss" not in row and file_of(name).is_file()}
    before = _answers(dense_of(task, subject), task)
    kind, losses = kind_of(before, task), dict[str, list[float]]()

    def losses_of(name: str) -> list[float]:
        if name not in losses:
            both = zip(before.split(1), _answers(file_of(name), task).split(1), strict=True)
            losses[name] = [divergence(one, other, kind, task) for one, other in both]
        return losses[name]

    found: dict[str, dict[str, Any]] = {}
    for name, other in ((name, other) for name in made if JOINT in name for other in made if JOINT not in other):
        if made[other]["validation_loss"] < made[name]["validation_loss"]:
            found.setdefault(name, {})[other] = paired_drop_interval(losses_of(name), losses_of(other))
    return {"examples": len(before), "joint": found}


def _answers(path: Path, task: Task) -> Tensor:
    session = open_session(path, Target())
    assert task.test is not None
    return torch.cat([file_outputs(session, data)[0] for data in (task.validation, task.test)])
