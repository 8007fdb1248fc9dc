"""The epochs of a run: one row a training, one point an epoch, the largest dip."""

from __future__ import annotations

import re

import pytest

from paring.core.edit import Epoch
from paring.report.detail import Detail
from paring.report.page import page
from paring.report.training import NONE, largest_dip, trainings
from tests.report.runs import made_up, measured

HISTORY = (
    Epoch(1, 0.9, 0.80, "finetune"),
    Epoch(2, 0.5, 0.90, "finetune"),
    Epoch(3, 0.4, 0.87, "finetune"),
    Epoch(1, 0.6, 0.85, "quantize.qat"),
    Epoch(2, 0.5, None, "quantize.qat"),
)


def section(run) -> str:  # type: ignore[no-untyped-def]
    found = re.search(r'<section id="training".*?</section>', page(run), re.DOTALL)
    assert found
    return found[0]


def test_every_training_has_a_row_and_every_epoch_a_point() -> None:
    text = section(made_up(measured("small", ratio=2.0), details={"small": Detail("", history=HISTORY)}))
    assert text.count("quantize.qat") >= 1 and "largest dip" in text
    loss, metric = re.findall(r'points="([^"]+)"', text)
    assert len(loss.split()) == 5 and len(metric.split()) == 4
    assert "0.03" in text, "from 0.90 to 0.87"


def test_a_run_without_training_says_so() -> None:
    assert NONE in section(made_up(measured("small"), details={"small": Detail("")}))


def test_trainings_are_told_apart() -> None:
    assert [(step, len(epochs)) for step, epochs in trainings(HISTORY)] == [("finetune", 3), ("quantize.qat", 2)]
    twice = (*HISTORY[:2], *HISTORY[:1])
    assert [len(epochs) for _, epochs in trainings(twice)] == [2, 1]


@pytest.mark.parametrize(
    ("metrics", "higher", "dip"),
    [([0.1, 0.5, 0.4, 0.6, 0.3], True, 0.3), ([1.0, 2.0], True, 0.0), ([1.0, 2.0, 0.5], False, 1.0)],
)
def test_the_largest_dip_is_behind_the_best_so_far(metrics, higher, dip) -> None:  # type: ignore[no-untyped-def]
    assert largest_dip(metrics, higher) == pytest.approx(dip)
