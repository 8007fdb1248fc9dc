"""A task small enough to be run end to end in a test, and a short clock."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from paring import Bench, Budget, Recipe, Task, batches, open_run, run_recipes
from paring.core.stream import drain
from paring.factorize.rank import Rank
from paring.factorize.svd import Svd
from paring.measure.metrics import accuracy
from paring.prune.channels import Channels
from paring.quantize.static import Static
from paring.report.results import Run

SHORT = Bench(engines=("onnxruntime",), blocks=4, min_block_ms=0.5)
NARROW = Recipe((Channels(pruning_ratio=0.5),), "narrow")
INTEGERS = Recipe((Static(),), "integers")
LOW_RANK = Recipe((Svd(rank=Rank(3)),), "low rank")


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (96, 8) and the class of each, the largest of its first three numbers."""
    x = torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
    return x, x[:, :3].argmax(1)


def tiny_task(**changes: Any) -> Task:
    """Two Linears on vectors of noise."""
    x, y = vectors()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    data = batches(x, y, 32)
    settings = {
        "name": "tiny",
        "model": model,
        "example_inputs": x[:2],
        "train": batches(x, y, 32, shuffle=True),
        "calibration": data,
        "validation": data,
        "test": data,
        "loss": F.cross_entropy,
        "metric": accuracy,
    }
    return Task(**(settings | changes))


def run_in(path: Path, recipes: Sequence[Recipe], budget: Budget = Budget(), **changes: Any) -> Run:  # noqa: B008
    """The recipes run into `path` on `tiny_task(**changes)`."""
    task = tiny_task(**changes)
    return drain(run_recipes(task, recipes, open_run(path, task, SHORT.conditions()), SHORT, budget))


def interruptible() -> None:
    """For a child process: Ctrl-C counts, even where the tests themselves run in the background without it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
