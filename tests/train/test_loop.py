"""The one training loop, and distillation as its objective."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from paring.candidates import compress, rebuild
from paring.core.edit import Changed
from paring.core.objective import Supervised
from paring.core.recipe import Recipe
from paring.distill.response import Response
from paring.errors import MissingError, NothingToDoError, TaskError
from paring.finetune import Finetune
from paring.prune.magnitude import Magnitude
from paring.train import Training, fit
from tests.nets import image_task


def loss_of(task, model) -> float:  # type: ignore[no-untyped-def]
    inputs, target = task.validation.inputs, task.validation.targets
    return task.loss(task.predict(model, inputs), target).item()


@pytest.mark.parametrize("objective", [Supervised(), Response(temperature=2.0, alpha=0.5)])
def test_training_lowers_the_loss_and_leaves_the_task_alone(objective) -> None:  # type: ignore[no-untyped-def]
    task = image_task()
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    candidate = compress(task, Recipe((Finetune(epochs=20, learning_rate=1e-2, objective=objective),)))
    model = rebuild(candidate, task)
    assert loss_of(task, model) < loss_of(task, task.model)
    assert all(torch.equal(before[name], tensor) for name, tensor in task.model.state_dict().items())
    assert not model.training and all(p.grad is None and p.requires_grad for p in model.parameters())


def test_same_seed_same_weights_and_another_seed_others() -> None:
    recipe = Recipe((Finetune(epochs=1),))
    runs = [compress(replace(image_task(), seed=seed), recipe).state["head.weight"] for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_include_keeps_the_rest_fixed() -> None:
    task = image_task()
    candidate = compress(task, Recipe((Finetune(include=("head",)),)))
    assert torch.equal(candidate.state["conv2.weight"], task.model.conv2.weight)
    assert not torch.equal(candidate.state["head.weight"], task.model.head.weight)
    with pytest.raises(NothingToDoError, match="selects no layer with weights"):
        compress(task, Recipe((Finetune(include=("nothing",)),)))


def test_masked_weights_stay_zero_through_training() -> None:
    task = image_task()
    state = compress(task, Recipe((Magnitude(sparsity=0.7), Finetune(epochs=2, learning_rate=1e-2)))).state
    masks = {name: mask for name, mask in state.items() if name.endswith("weight_mask")}
    assert masks
    for name, mask in masks.items():
        weight = state[name.removesuffix("_mask")]
        assert torch.equal(weight != 0, mask)


def test_a_loss_that_explodes_is_named() -> None:
    task = replace(image_task(), loss=lambda outputs, _: outputs.sum() * torch.inf)
    with pytest.raises(TaskError, match="Lower learning_rate"):
        compress(task, Recipe((Finetune(),)))


def test_training_without_data_is_refused() -> None:
    task = replace(image_task(), train=None)
    with pytest.raises(MissingError):
        list(fit(task.model, task, Supervised(), Training()))


def test_schedules_warm_up_and_end_at_zero() -> None:
    rates = [Training(warmup=0.2, schedule="linear").rate_at(step, 10) for step in range(10)]
    assert rates[0] < rates[1] < rates[2] == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] == pytest.approx(0.125)
    assert Training(schedule="constant").rate_at(9, 10) == 1.0
    assert Training().rate_at(5, 10) == pytest.approx(0.5)


def test_finetune_reports_what_changed() -> None:
    task = image_task()
    steps = list(Finetune(include=("head",)).run(task.model, task))
    assert steps[-1] == Changed(("head",))
    assert [step.done for step in steps[:-1]] == [1, 2, 3]  # type: ignore[union-attr]
