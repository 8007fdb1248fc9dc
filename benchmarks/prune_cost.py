"""What pruning itself costs: seconds and memory over depth and width, each net in a process of its own on one core."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from paring import Task, batches
from paring.core.edit import Edit
from paring.core.recipe import Pass
from paring.measure.metrics import accuracy
from paring.prune.channels import Channels
from paring.prune.obs import Obs
from paring.studies.nets import mlp

ROWS = 2048  # calibration rows
SIZES = [(depth, 256) for depth in (4, 8, 16, 32, 64)] + [(8, width) for width in (128, 512, 1024)]
STEPS: dict[str, Pass] = {"obs": Obs(sparsity=0.5), "channels": Channels(pruning_ratio=0.5, importance="obs")}


def cost() -> dict[str, Callable[[], dict[str, Any]]]:
    """Row name -> what makes it."""
    return {
        f"cost: {name}, depth {depth}, width {width}": partial(_apart, name, depth, width)
        for name in STEPS
        for depth, width in SIZES
    }


def _apart(name: str, depth: int, width: int) -> dict[str, Any]:
    code = f"import json, prune_cost; print(json.dumps(prune_cost.here({name!r}, {depth}, {width})))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    row: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return row


def here(name: str, depth: int, width: int) -> dict[str, Any]:
    """`depth` square Linears between an input and an output of the same width; a small net first loads what is lazy."""
    torch.set_num_threads(1)
    _run(name, 2, 32)
    task = _task(depth, width)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, clock = time.perf_counter(), time.process_time()
    _run(name, depth, width, task)
    seconds = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - clock}
    extra = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    weights = sum(parameter.numel() for parameter in task.model.parameters())
    kept = weights if name == "obs" else 4 * weights  # a mask of one byte a weight; the original beside the model
    return {
        "part": "cost", "name": name, "depth": depth, "width": width, **seconds,
        "peak_extra_bytes": extra, "kept_bytes": kept, "hessian_bytes": 8 * width**2,
    }  # fmt: skip


def _task(depth: int, width: int) -> Task:
    torch.manual_seed(0)
    x, y = torch.randn(ROWS, width), torch.randint(0, 10, (ROWS,))
    data = batches(x, y, 256)
    model = mlp((width,) * (depth + 1) + (10,)).eval()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)  # signals that die out with depth are slow to compute with
    return Task(
        model=model, example_inputs=x[:2], calibration=data, validation=data, loss=F.cross_entropy, metric=accuracy
    )


def _run(name: str, depth: int, width: int, task: Task | None = None) -> None:
    task = task or _task(depth, width)
    model = task.model
    for step in STEPS[name].run(model, task):
        if isinstance(step, Edit):
            model = step.apply(model)
