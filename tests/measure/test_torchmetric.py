"""Any torchmetrics metric as the task's own, against scikit-learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score, mean_absolute_error
from torchmetrics.classification import BinaryAveragePrecision, BinaryF1Score, MulticlassCohenKappa, MulticlassF1Score
from torchmetrics.functional.regression import mean_absolute_error as absolute_error
from torchmetrics.functional.regression import spearman_corrcoef
from torchmetrics.regression import MeanAbsoluteError

from paring.core.metric import Metric
from paring.errors import SettingError, TaskError
from paring.measure.quality import quality
from paring.measure.torchmetric import from_torchmetrics

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(60, 4, generator=GENERATOR)
CLASSES = (LOGITS + torch.randn(60, 4, generator=GENERATOR)).argmax(1)
PAIR = torch.randn(60, 2, generator=GENERATOR)
BINARY = (PAIR[:, 1] - PAIR[:, 0] + torch.randn(60, generator=GENERATOR) > 0).long()
MARGIN = PAIR[:, 1] - PAIR[:, 0]


def test_classes_as_scikit_learn_scores_them() -> None:
    predicted = LOGITS.argmax(1)
    macro = from_torchmetrics(MulticlassF1Score(num_classes=4))
    assert (macro.name, macro.higher_is_better) == ("MulticlassF1Score", True)
    assert macro(LOGITS, CLASSES) == pytest.approx(f1_score(CLASSES, predicted, average="macro"))
    kappa = from_torchmetrics(MulticlassCohenKappa(num_classes=4), name="kappa", higher_is_better=True)
    assert kappa.name == "kappa"
    assert kappa(LOGITS, CLASSES) == pytest.approx(cohen_kappa_score(CLASSES, predicted), rel=1e-5)


@pytest.mark.parametrize("outputs", [PAIR, MARGIN, MARGIN[:, None]], ids=["two logits", "flat", "one column"])
def test_two_classes_whatever_the_shape_of_the_answers(outputs: torch.Tensor) -> None:
    binary_f1 = from_torchmetrics(BinaryF1Score())
    assert binary_f1(outputs, BINARY) == pytest.approx(f1_score(BINARY, (MARGIN > 0).long()))
    precision = from_torchmetrics(BinaryAveragePrecision())
    assert precision(outputs, BINARY) == pytest.approx(average_precision_score(BINARY, MARGIN), rel=1e-5)


def test_regression_by_a_class_or_a_function_with_its_direction() -> None:
    y, guess = torch.arange(6.0), torch.tensor([[0.5], [1.0], [1.0], [3.0], [5.0], [5.0]])
    expected = mean_absolute_error(y, guess[:, 0])
    by_class = from_torchmetrics(MeanAbsoluteError(), unit="stars")
    by_function = from_torchmetrics(absolute_error, higher_is_better=False)
    assert (by_class.higher_is_better, by_class.unit, by_function.name) == (False, "stars", "mean_absolute_error")
    assert by_class(guess, y) == by_function(guess, y) == pytest.approx(expected)
    assert by_class.drop(0.2, 0.5) == pytest.approx(0.3)


def test_the_instance_keeps_no_trace_and_figures_do_not_add_up() -> None:
    own = MulticlassF1Score(num_classes=4)
    metric = from_torchmetrics(own)
    first = metric(LOGITS, CLASSES)
    metric(LOGITS.flip(0), CLASSES)
    assert metric(LOGITS, CLASSES) == first and own.update_count == 0


def test_a_drop_of_it_has_a_bootstrapped_interval() -> None:
    spearman = from_torchmetrics(spearman_corrcoef, higher_is_better=True)
    y = torch.arange(30.0)
    told = quality(spearman, y, y.flip(0), y, split="test")
    assert (told.metric, told.drop) == (pytest.approx(-1), pytest.approx(2))
    assert told.drop_interval is not None and told.drop_interval[0] > 1.5


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (MulticlassF1Score, r"MulticlassF1Score is no instance; write MulticlassF1Score\(\.\.\.\) with its settings"),
        (3, "int is no instance"),
        (absolute_error, "mean_absolute_error does not say its direction; give higher_is_better="),
    ],
)
def test_what_is_no_usable_metric_is_told(made: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        from_torchmetrics(made)


def test_a_metric_that_does_not_fit_the_answers_is_one_line() -> None:
    metric: Metric = from_torchmetrics(MulticlassF1Score(num_classes=9))
    with pytest.raises(TaskError, match=r"metric MulticlassF1Score: it fails on outputs \(60, 4\)") as caught:
        metric(LOGITS, CLASSES)
    assert "\n" not in str(caught.value)
