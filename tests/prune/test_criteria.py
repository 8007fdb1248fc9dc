"""Criteria for whole channels: each does what its name says, and what is mended loses less."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from paring import Changed, Recipe, compress, rebuild
from paring.graph.unit_scores import Importance
from paring.prune.channels import Channels
from tests.nets import image_task
from tests.passes import output_error, run, task_of

CRITERIA = get_args(Importance)


def chain(width: int = 16, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 4))


def cut(model: nn.Module, x: Tensor, ratio: float, importance: str, **settings: object) -> nn.Module:
    step = Channels(pruning_ratio=ratio, importance=importance, include=("0",), **settings)  # type: ignore[arg-type]
    return run(step, task_of(model, x))[0]


@pytest.mark.parametrize("importance", CRITERIA)
def test_every_criterion_cuts_half_and_replays(importance: Importance) -> None:
    task = image_task()
    candidate = compress(task, Recipe((Channels(pruning_ratio=0.5, importance=importance, include=("conv1",)),)))
    model = rebuild(candidate, task)
    assert model.conv1.out_channels == 4 and model.conv2.in_channels == 4
    x = task.example_inputs
    assert isinstance(x, Tensor) and torch.isfinite(model(x)).all()


@pytest.mark.parametrize("importance", ["redundancy", "obs"])
def test_copies_go_first_and_nothing_is_lost(importance: str) -> None:
    model, x = chain(), torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # units 8 to 15 are scaled copies of 0 to 7
        model[0].weight[8:] = 1.5 * model[0].weight[:8]
        model[0].bias[8:] = 1.5 * model[0].bias[:8]
    after = cut(model, x, 0.5, importance)
    assert after[0].out_features == 8
    assert output_error(model, after, x) < 1e-4 * float(model(x).var().detach())
    by_size = cut(model, x, 0.5, "l2", reconstruct=False)
    assert output_error(model, by_size, x) > 100 * output_error(model, after, x)


@pytest.mark.parametrize("importance", ["activation", "apoz", "obs", "redundancy", "taylor"])
def test_units_that_never_answer_go_first(importance: str) -> None:
    model, x = chain(12), torch.rand(256, 8, generator=torch.Generator().manual_seed(1))
    dead = [1, 5, 6, 11]
    with torch.no_grad():
        model[0].bias.fill_(2.0)  # active for every input
        model[0].bias[dead] = -100.0  # large weights, but never active
        model[0].weight[dead] *= 10
    after = cut(model, x, 1 / 3, importance)
    assert after[0].out_features == 8 and float(after[0].bias.min().detach()) > -50
    assert output_error(model, after, x) < 1e-8


def test_batch_norm_scales_rank() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, 0.01, 0.9, 0.02, 0.8, 0.03]))
    x = torch.randn(64, 2, 5, 5)
    after = cut(model, x, 0.5, "batch_norm", reconstruct=False, reestimate=False)
    assert torch.allclose(after[1].weight.detach(), torch.tensor([1.0, 0.9, 0.8]))


def test_the_geometric_median_keeps_what_stands_apart() -> None:
    model, x = chain(6), torch.randn(64, 8)
    with torch.no_grad():  # five rows close together, one far away but small
        model[0].weight.copy_(torch.ones(6, 8) + 0.01 * torch.randn(6, 8))
        model[0].weight[2] = -0.2
    after = cut(model, x, 0.5, "geometric_median", reconstruct=False)
    assert (after[0].weight.detach() < 0).all(1).any()


@pytest.mark.parametrize("importance", ["l2", "activation", "taylor", "obs"])
@pytest.mark.parametrize("seed", range(2))
def test_mending_by_least_squares_loses_less(importance: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(512, 8, generator=generator)
    model = chain(32, seed)
    mended, plain = (cut(model, x, 0.5, importance, reconstruct=flag) for flag in (True, False))
    assert output_error(model, mended, x) < 0.5 * output_error(model, plain, x)


def test_batch_norms_are_reestimated_after_the_cut() -> None:
    task = image_task()
    model, done = run(Channels(pruning_ratio=0.5, include=("stem",), reconstruct=False), task)
    changed = [name for item in done if isinstance(item, Changed) for name in item.layers]
    assert "norm" in changed or "norm1" in changed
    x = torch.cat([inputs for inputs, _ in task.calibration or ()])
    seen = model.stem(x).detach()
    assert torch.allclose(model.norm.running_mean, seen.mean((0, 2, 3)), atol=1e-4)


def test_a_threshold_takes_only_what_lies_beyond_it() -> None:
    model, x = chain(), torch.rand(128, 8)
    with torch.no_grad():
        model[0].bias.fill_(2.0)
        model[0].bias[[3, 4]] = -100.0
    assert cut(model, x, 0.9, "activation", threshold=1e-6)[0].out_features == 14
    assert cut(model, x, 0.9, "apoz", threshold=0.999)[0].out_features == 14
    _, done = run(Channels(importance="l2", threshold=1e-9, include=("0",)), task_of(model, x))
    assert any("none of its units is beyond the threshold" in str(item) for item in done)
