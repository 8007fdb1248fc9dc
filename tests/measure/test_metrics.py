"""Each figure against scikit-learn or the formula."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import poisson
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from torch import Tensor

from paring.errors import ShapeError
from paring.measure import metrics
from paring.measure.metrics import METRICS

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(200, 5, generator=GENERATOR)
CLASSES = (LOGITS + torch.randn(200, 5, generator=GENERATOR)).argmax(1)
LOGIT = 40 * torch.randn(200, 1, generator=GENERATOR)
BINARY = (LOGIT[:, 0] + 40 * torch.randn(200, generator=GENERATOR) > 0).long()
LOG_RATE = torch.randn(200, generator=GENERATOR)
COUNTS = torch.poisson(LOG_RATE.exp(), generator=GENERATOR)


def test_several_classes() -> None:
    predicted, probability = LOGITS.argmax(1), LOGITS.double().softmax(1).numpy()
    assert metrics.accuracy(LOGITS, CLASSES) == pytest.approx(accuracy_score(CLASSES, predicted))
    assert metrics.f1(LOGITS, CLASSES) == pytest.approx(f1_score(CLASSES, predicted, average="macro"))
    assert metrics.log_loss(LOGITS, CLASSES) == pytest.approx(log_loss(CLASSES, probability))
    assert metrics.auc(LOGITS, CLASSES) == pytest.approx(roc_auc_score(CLASSES, probability, multi_class="ovr"))


@pytest.mark.parametrize("outputs", [LOGIT, LOGIT[:, 0]])
def test_two_classes_with_one_logit(outputs: Tensor) -> None:
    predicted, logit = (LOGIT[:, 0] > 0).long(), LOGIT[:, 0].double()
    assert metrics.accuracy(outputs, BINARY) == pytest.approx(accuracy_score(BINARY, predicted))
    assert metrics.f1(outputs, BINARY) == pytest.approx(f1_score(BINARY, predicted))
    assert metrics.auc(outputs, BINARY) == pytest.approx(roc_auc_score(BINARY, logit))  # large logits stay ranked
    wrong_way = torch.where(BINARY == 1, -logit, logit)
    assert metrics.log_loss(outputs, BINARY) == pytest.approx(float(torch.log1p(wrong_way.exp()).mean()))


def test_two_logits_rank_by_their_difference_and_ties_count_half() -> None:
    two = torch.stack([-LOGIT[:, 0], LOGIT[:, 0]], 1)
    assert metrics.auc(two, BINARY) == metrics.auc(LOGIT, BINARY)
    assert metrics.auc(torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([0, 0, 1, 1])) == pytest.approx(3.5 / 4)
    assert np.isnan(metrics.auc(LOGIT, torch.ones(200)))


def test_rates() -> None:
    full = -poisson.logpmf(COUNTS, LOG_RATE.double().exp()).mean()
    constant = torch.lgamma(COUNTS.double() + 1).mean()
    assert metrics.poisson_log_loss(LOG_RATE, COUNTS) == pytest.approx(float(full - constant))
    assert metrics.calibration_ratio(LOG_RATE + np.log(1.1), COUNTS) == pytest.approx(
        1.1 * metrics.calibration_ratio(LOG_RATE, COUNTS)
    )
    even = torch.tensor([0.0, 0.0])
    assert metrics.calibration_ratio(even, torch.tensor([1.0, 0.0]), rate=torch.sigmoid) == 1
    assert metrics.calibration_error(torch.log(torch.tensor([3.0, 5.0])), torch.tensor([4, 6])) == pytest.approx(0.2)
    assert metrics.rmse(torch.tensor([[1.0], [2.0]]), torch.tensor([4.0, 6.0])) == pytest.approx((25 / 2) ** 0.5)


def test_positions_of_a_sequence_are_averaged_within_the_example() -> None:
    outputs = torch.zeros(2, 3, 4)
    outputs[:, 1] = 1.0
    targets = torch.tensor([[1, 1, 1, 0], [0, 1, 0, 0]])
    assert metrics.accuracy.per_example is not None
    assert metrics.accuracy.per_example(outputs, targets).tolist() == [0.75, 0.25]
    assert metrics.accuracy(outputs, targets) == 0.5


@pytest.mark.parametrize("name", METRICS)
def test_scores_average_to_the_figure(name: str) -> None:
    metric = METRICS[name]
    outputs, targets = (
        (LOG_RATE, COUNTS) if name in ("poisson_log_loss", "rmse", "calibration_error") else (LOGIT, BINARY)
    )
    if metric.per_example is None:
        assert name in ("f1", "auc", "rmse", "calibration_error")
    else:
        scores = metric.per_example(outputs, targets)
        assert scores.shape == (200,)
        assert float(scores.mean()) == pytest.approx(metric(outputs, targets))


def test_shapes_that_do_not_fit_are_named() -> None:
    for name in METRICS:
        with pytest.raises(ShapeError, match=r"\(200, 5\)"):
            METRICS[name](LOGITS, torch.zeros(200, 2))


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "f1", "auc"])
def test_class_numbers_beyond_the_outputs_are_refused_and_ignored_ones_do_not_count(name: str) -> None:
    torch.manual_seed(3)
    outputs, targets = torch.randn(6, 3, 50), torch.randint(0, 3, (6, 50))
    for wrong in (3, -1, 255):
        bad = targets.clone()
        bad[0, 0] = wrong
        bad[0, 1] = -100
        with pytest.raises(ShapeError, match="Number them from 0 to 2; what is not to count is -100"):
            METRICS[name].function(outputs, bad)
    blank = targets.clone()
    blank[:, 40:] = -100
    assert METRICS[name](outputs, blank) == pytest.approx(METRICS[name](outputs[..., :40], targets[:, :40]))


def test_torchmetrics_is_imported_only_when_used() -> None:
    code = (
        "import sys, torch, paring.measure.metrics as m; m.accuracy(torch.zeros(2, 3), torch.zeros(2).long())\n"
        "print('torchmetrics' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
