"""Accumulation, early stop, history: what people expect of a training loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paring import batches
from paring.candidates import compress, rebuild
from paring.core.edit import Epoch
from paring.core.metric import Metric
from paring.core.objective import Supervised
from paring.core.recipe import Recipe
from paring.errors import SettingError
from paring.finetune import Finetune
from paring.store import load_candidate, save_candidate
from paring.train import Training, fit
from tests.nets import image_task, vector_task


def test_two_accumulated_batches_learn_as_one_of_twice_the_size() -> None:
    task = vector_task()
    x, y = task.train.inputs, task.train.targets  # type: ignore[union-attr]
    by_two, plain = Finetune(2, 1e-2, accumulation=2, schedule="constant"), Finetune(2, 1e-2, schedule="constant")
    small = compress(replace(task, train=batches(x, y, 16)), Recipe((by_two,)))
    large = compress(replace(task, train=batches(x, y, 32)), Recipe((plain,)))
    for name in small.state:
        assert torch.allclose(small.state[name], large.state[name], atol=1e-5), name


def test_the_last_accumulated_batches_of_an_epoch_are_not_lost() -> None:
    task = vector_task()
    x, y = task.train.inputs[:48], task.train.targets[:48]  # type: ignore[union-attr]
    by_five, plain = Finetune(1, 1e-2, accumulation=5, schedule="constant"), Finetune(1, 1e-2, schedule="constant")
    three = compress(replace(task, train=batches(x, y, 16)), Recipe((by_five,)))
    one = compress(replace(task, train=batches(x, y, 48)), Recipe((plain,)))
    assert all(torch.allclose(three.state[name], one.state[name], atol=1e-5) for name in one.state)


def falling(figures: list[float]) -> Metric:
    """A metric that gives these figures, one a call."""
    left = iter(figures)
    return Metric("planted", lambda outputs, targets: next(left))


def test_early_stop_keeps_the_best_epochs_weights() -> None:
    task = replace(image_task(), metric=falling([0.5, 0.9, 0.8, 0.9, 0.7, 0.6]))
    kept, seen = {}, []
    for step in fit(task.model, task, Supervised(), Training(epochs=6, learning_rate=1e-2, early_stop=2)):
        if step.epoch is not None:
            seen.append(step.epoch.metric)
            kept[step.epoch.epoch] = task.model.head.weight.detach().clone()
    assert seen == [0.5, 0.9, 0.8, 0.9]
    assert torch.equal(task.model.head.weight, kept[2]) and not torch.equal(kept[2], kept[4])


def test_every_epoch_is_kept_and_comes_back_from_disk(tmp_path: Path) -> None:
    task = image_task()
    candidate = compress(task, Recipe((Finetune(3, 1e-2),)))
    assert [(one.epoch, one.step) for one in candidate.history] == [(1, "finetune"), (2, "finetune"), (3, "finetune")]
    assert candidate.history[-1].loss < candidate.history[0].loss
    model = rebuild(candidate, task)
    inputs, targets = task.validation.inputs, task.validation.targets  # type: ignore[attr-defined]
    with torch.no_grad():
        assert candidate.history[-1].metric == pytest.approx(task.metric(model(inputs), targets))
    save_candidate(candidate, tmp_path)
    assert load_candidate(tmp_path).history == candidate.history


def test_looking_at_validation_changes_no_weight() -> None:
    nets = []
    for validate in (True, False):
        task = image_task()
        torch.manual_seed(0)
        steps = list(fit(task.model, task, Supervised(), Training(epochs=2, validate=validate)))
        assert (steps[-1].epoch is not None and steps[-1].epoch.metric is not None) == validate
        nets.append(task.model)
    assert all(torch.equal(p, q) for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_without_labels_on_validation_there_is_no_metric_and_no_error() -> None:
    task = image_task()
    task = replace(task, validation=[(task.validation.inputs, None)])  # type: ignore[attr-defined]
    (ended,) = [s.epoch for s in fit(task.model, task, Supervised(), Training()) if s.epoch]
    assert ended == Epoch(1, ended.loss, None)


@pytest.mark.parametrize("settings", [{"accumulation": 0}, {"early_stop": 0}, {"early_stop": 1, "validate": False}])
def test_bad_settings_are_refused(settings) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError):
        Training(**settings)
