"""Small tasks for the low-rank passes, and what a layer's output loses on them."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring import Task, batches
from paring.candidates import compress, rebuild
from paring.core.recipe import Pass, Recipe
from paring.measure.metrics import accuracy


def task_of(model: nn.Module, inputs: Tensor, seed: int = 0) -> Task:
    """A task whose targets do not matter."""
    data = batches(inputs, torch.zeros(len(inputs), dtype=torch.long), 32)
    return Task(model.eval(), inputs[:2], data, F.cross_entropy, accuracy, calibration=data, seed=seed)


def correlated(count: int, width: int, seed: int = 0, offset: float = 0.5) -> Tensor:
    """Inputs whose directions differ in strength, around a mean."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) * torch.logspace(0, -1.5, width)
    return torch.randn(count, width, generator=generator) @ mixing + offset * torch.randn(width, generator=generator)


def images(count: int = 48, channels: int = 6, side: int = 8, seed: int = 0) -> Tensor:
    """Smooth images with correlated channels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, channels, side // 2, side // 2, generator=generator)
    mixing = torch.randn(channels, channels, generator=generator) * torch.logspace(0, -1, channels)
    x = torch.einsum("nchw,cd->ndhw", coarse, mixing)
    return F.interpolate(x, (side, side), mode="bilinear") + 0.3


@torch.no_grad()
def output_error(task: Task, step: Pass) -> float:
    """Mean squared error of the model's output on the calibration data, summed over outputs."""
    model = rebuild(compress(task, Recipe((step,))), task)
    assert task.calibration is not None
    pairs = [(task.predict(model, x).double(), task.predict(task.model, x).double()) for x, _ in task.calibration]
    rows = [(a - b).movedim(1, -1).flatten(0, -2) if a.ndim > 2 else a - b for a, b in pairs]
    return float(torch.cat(rows).square().sum(1).mean())


def forward(model: nn.Module, x: Tensor) -> Any:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)
