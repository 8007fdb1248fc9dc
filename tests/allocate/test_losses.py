"""What answers mean is read from the loss; divergences are those of the distributions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from paring.allocate.losses import divergence, kind_of, yardstick
from paring.numerics.divergence import poisson_divergence
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
