"""Residual connections seen while they run, and layers that make up for what the other branch lost."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paring.core.task import Task
from paring.graph.addends import Addends, added_to
from paring.graph.reconstruct import reconstruct_
from paring.measure.metrics import accuracy


class Residual(nn.Module):
    """`last(relu(first(x)))`, normed if there is a norm, added to `skip(x)` in one way or another."""

    def __init__(self, way: str = "a + b", norm: bool = False) -> None:
        super().__init__()
        self.way = way
        self.first = nn.Conv2d(3, 8, 1)
        self.last = nn.Conv2d(8, 5, 1, bias=not norm)
        self.norm = nn.BatchNorm2d(5) if norm else nn.Identity()
        self.skip = nn.Conv2d(3, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) -> (b, 5)."""
        a, b = self.norm(self.last(torch.relu(self.first(x)))), self.skip(x)
        match self.way:
            case "a + b":
                y = a + b
            case "b + a":
                y = b + a
            case "add":
                y = torch.add(a, b)
            case "in place":
                a += b
                y = a
            case _:
                y = torch.relu(a) + b
        return y.mean((2, 3))


def task_of(model: nn.Module) -> Task:
    x = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    data = [(x[:40], torch.zeros(40)), (x[40:], torch.zeros(24))]
    return Task(
        model=model.eval(),
        example_inputs=x[:2],
        calibration=data,
        validation=data,
        loss=lambda y, t: y.sum(),
        metric=accuracy,
    )


@pytest.mark.parametrize("way", ["a + b", "b + a", "add", "in place", "behind a relu"])
def test_additions_are_seen_however_they_are_written(way: str) -> None:
    torch.manual_seed(0)
    model, x = Residual(way).eval(), torch.randn(2, 3, 4, 4)
    seen: list[tuple[Tensor, Tensor]] = []
    with (
        torch.no_grad(),
        Addends(model, ["last"], lambda _, answer, other: seen.append((answer.clone(), other.clone()))),
    ):
        model(x)
    assert added_to(model, ["last"], x) == ({} if way == "behind a relu" else {"last": ""})
    if way == "behind a relu":
        assert seen == []
    else:
        [(answer, other)] = seen
        assert torch.equal(answer, model.last(torch.relu(model.first(x)))) and torch.equal(other, model.skip(x))


@pytest.mark.parametrize("norm", [False, True])
def test_a_layer_makes_up_for_the_other_branch(norm: bool) -> None:
    torch.manual_seed(1)
    original = Residual(norm=norm).eval()
    if norm:
        with torch.no_grad():
            original.norm.running_mean.normal_()
            original.norm.running_var.uniform_(0.5, 2)
            original.norm.weight.normal_()
    task = task_of(original)
    model = copy.deepcopy(original)
    with torch.no_grad():
        model.skip.weight.add_(0.3 * torch.randn_like(model.skip.weight))
        model.first.weight.add_(0.1 * torch.randn_like(model.first.weight))
    x = torch.cat([inputs for inputs, _ in task.calibration or ()])
    with torch.no_grad():
        hidden = rows(torch.relu(model.first(x)))
        wanted = rows(original.norm(original.last(torch.relu(original.first(x)))) + original.skip(x)) - rows(
            model.skip(x)
        )
        before = np.square(rows(model.norm(model.last(torch.relu(model.first(x))))) - wanted).mean()
    design = np.concatenate([hidden, np.ones((len(hidden), 1))], 1)
    best = np.square(design @ np.linalg.lstsq(design, wanted, rcond=None)[0] - wanted).mean()
    reconstruct_(original, model, ["last"], {}, {"last": "norm"} if norm else {}, replace(task, model=original))
    with torch.no_grad():
        after = np.square(rows(model.norm(model.last(torch.relu(model.first(x))))) - wanted).mean()
    assert best <= after * (1 + 1e-6) and after < best + 0.02 * before


def rows(x: Tensor) -> np.ndarray:
    return x.movedim(1, -1).reshape(-1, x.shape[1]).double().numpy()
