"""What answers mean is read from the loss; divergences are those of the distributions."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import paring.allocate.losses
from paring.allocate.losses import divergence, kind_of, yardstick
from paring.numerics.divergence import poisson_divergence
from tests.nets import image_task
from tests.runs import tiny_task


def poisson(u: Tensor, y: Tensor) -> Tensor:
    return F.poisson_nll_loss(u, y)


LOSSES = {
    "logit": F.binary_cross_entropy_with_logits,
    "log rate": poisson,
    "value": F.mse_loss,
}


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_says_what_an_answer_is(kind: str) -> None:
    task = replace(tiny_task(), loss=LOSSES[kind])
    assert kind_of(torch.linspace(-2, 2, 50), task) == kind
    assert kind_of(torch.linspace(-2, 2, 50)[:, None], task) == kind


def test_a_loss_of_no_known_kind_leaves_squares() -> None:
    task = replace(tiny_task(), loss=lambda u, y: (u - y - 1).abs().mean())
    before = torch.linspace(-2, 2, 50)
    assert kind_of(before, task) == "squares"
    assert divergence(before, before + 0.1, "squares", task) == pytest.approx(0.01 / float(before.double().var()))


def test_divergences_are_those_of_the_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = torch.randn(2, 40, generator=generator).double()
    task = replace(tiny_task(), loss=poisson)
    expected = float(poisson_divergence(after, before))
    assert divergence(before, after, "log rate", task) == pytest.approx(expected, rel=1e-6)
    p, q = before.sigmoid(), after.sigmoid()
    expected = float((p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean())
    task = replace(task, loss=F.binary_cross_entropy_with_logits)
    assert divergence(before, after, "logit", task) == pytest.approx(expected, rel=1e-6)
    logits = torch.stack([torch.zeros_like(before), before], 1), torch.stack([torch.zeros_like(after), after], 1)
    assert divergence(*logits, "classes", task) == pytest.approx(expected, rel=1e-6)


def test_the_original_loses_nothing_against_itself() -> None:
    task = tiny_task()
    ruler = yardstick(task, task.model, 64)
    assert len(ruler.data) == 2 and len(ruler.before) == 64
    assert ruler.loss(task.model) == 0.0


def test_options_are_fitted_on_other_data_than_they_are_measured_on() -> None:
    task = tiny_task()
    assert task.calibration is not None
    batches = list(task.calibration)
    ruler = yardstick(task, task.model, 64)
    fitted = list(ruler.task.calibration or ())
    assert len(ruler.data) == 2 and len(fitted) == len(batches) // 2
    for found, expected in ((ruler.data, batches[::2]), (fitted, batches[1::2])):
        for (x, _), (wanted, _) in zip(found, expected, strict=False):
            torch.testing.assert_close(x, wanted)


def test_a_single_batch_serves_for_both() -> None:
    task = replace(tiny_task(), calibration=list(tiny_task().calibration or ())[:1])
    assert yardstick(task, task.model, 64).task is task


@pytest.mark.parametrize("kind", ["classes", "squares", *LOSSES])
def test_answers_that_are_no_numbers_are_no_small_loss(kind: str) -> None:
    task = replace(tiny_task(), loss=LOSSES.get(kind, F.mse_loss))
    before = torch.linspace(-2, 2, 50)[:, None].expand(50, 3 if kind == "classes" else 1)
    for broken in (before * torch.nan, before + torch.inf):
        assert not np.isfinite(divergence(before, broken, kind, task))


def test_a_model_that_answers_no_numbers_loses_everything() -> None:
    task = image_task()
    ruler, broken = yardstick(task, task.model, 64), copy.deepcopy(task.model)
    with torch.no_grad():
        next(iter(broken.parameters())).fill_(torch.nan)
    assert ruler.loss(task.model) == 0 and ruler.loss(broken) == np.inf


def test_training_data_is_taken_as_far_as_it_answers_alike() -> None:
    """Its targets are not looked at, and crops of another size answer another shape."""
    task = replace(image_task(), output=lambda answer: answer)
    x = torch.rand(8, 1, 8, 8)
    for also, count in (
        ([(x, None), (x, ("soft", 1))], 16),
        ([(x, torch.rand(8, 4)), (x[:5], torch.zeros(5))], 13),
    ):
        assert len(yardstick(task, task.model, 1000, also=also).before) == 64 + count
    wide = replace(task, model=nn.Conv2d(1, 3, 1), loss=F.cross_entropy)
    ruler = yardstick(wide, wide.model, 1000, also=[(torch.rand(4, 1, 12, 12), None), (x, None)])
    assert ruler.before.shape == (64 + 8, 3, 8, 8) and ruler.loss(wide.model) == 0


def test_no_more_inputs_are_held_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    task = image_task()
    monkeypatch.setattr(paring.allocate.losses, "MOST_HELD", 32 * 64 * 4)  # one batch
    assert len(yardstick(task, task.model, 1000, also=task.train).before) == 64
