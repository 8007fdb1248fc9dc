"""Unstructured pruning: exact, deterministic, respectful of earlier masks and of shared weights."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from paring.core.edit import Declined, Edit
from paring.core.recipe import Recipe
from paring.core.task import Task
from paring.errors import LayerError, NothingToDoError, SettingError, UnknownNameError
from paring.graph.edits.mask import MaskWeight, masked
from paring.graph.state import meta_copy, put_state, take_state
from paring.numerics.importance import count_of
from paring.prune.magnitude import Magnitude
from tests.nets import TASKS, SharedNet, image_task, vector_task


def pruned(step: Magnitude, task: Task, model: nn.Module | None = None) -> tuple[nn.Module, list[object]]:
    model = copy.deepcopy(model or task.model)
    steps: list[object] = []
    for change in step.run(model, task):
        steps.append(change)
        if isinstance(change, Edit):
            model = change.apply(model)
    return model, steps


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", [0.31, 0.9])
def test_sparsity_is_exact(name: str, scope: str, sparsity: float) -> None:
    model, _ = pruned(Magnitude(sparsity=sparsity, scope=scope), TASKS[name]())  # type: ignore[arg-type]
    weights = {id(module.weight): (module.weight, mask) for _, module, mask in masked(model)}.values()
    assert all(torch.equal(weight == 0, ~mask) for weight, mask in weights)
    counts = [(int((weight == 0).sum()), weight.numel()) for weight, _ in weights]
    if scope == "layer":
        assert all(zeros == count_of(sparsity, total) for zeros, total in counts)
    assert scope == "layer" or sum(z for z, _ in counts) == count_of(sparsity, sum(n for _, n in counts))


def test_the_smallest_go_and_the_rest_is_untouched() -> None:
    task = image_task()
    model, _ = pruned(Magnitude(sparsity=0.5, scope="layer"), task)
    before, after = task.model.conv1.weight, model.conv1.weight
    assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(before[after != 0], after[after != 0])
    assert "weight_mask" not in task.model.conv1._buffers


def test_shared_weights_are_masked_once_and_stay_shared() -> None:
    model, steps = pruned(Magnitude(sparsity=0.5, scope="layer"), vector_task())
    assert isinstance(model, SharedNet)
    assert model.tied_a.weight is model.tied_b.weight and model.tied_a.weight_mask is model.tied_b.weight_mask
    assert {"tied_a", "tied_b"} <= {step.layer for step in steps if isinstance(step, MaskWeight)}
    model, steps = pruned(Magnitude(exclude=("tied_b",)), vector_task())
    assert Declined("tied_a", "its weight is shared with tied_b, which is excluded") in steps
    assert (model.tied_a.weight != 0).all()
    with pytest.raises(LayerError, match="tied_a: its weight is shared with tied_b"):
        pruned(Magnitude(include=("tied_a",), exclude=("tied_b",)), vector_task())


def test_earlier_masks_count_and_stay() -> None:
    task = image_task()
    once, _ = pruned(Magnitude(sparsity=0.6), task)
    twice, _ = pruned(Magnitude(sparsity=0.8), task, once)
    straight, _ = pruned(Magnitude(sparsity=0.8), task)
    less, _ = pruned(Magnitude(sparsity=0.3), task, once)
    assert all(torch.equal(a, b) for a, b in zip(twice.parameters(), straight.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(less.parameters(), once.parameters(), strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_replay_is_bit_identical(name: str) -> None:
    task = TASKS[name]()
    model, steps = pruned(Magnitude(), task)
    replayed = meta_copy(task.model)
    for step in steps:
        if isinstance(step, Edit):
            replayed = Edit.from_json(json.loads(json.dumps(step.to_json()))).apply(replayed)
    put_state(replayed, *take_state(model))
    with torch.no_grad():
        assert torch.equal(task.predict(replayed, task.example_inputs), task.predict(model, task.example_inputs))
    again, _ = pruned(Magnitude(), task)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, 1.5, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity: float) -> None:
    with pytest.raises(SettingError, match=r"prune.magnitude: sparsity is .*between 0 and 1"):
        Magnitude(sparsity=sparsity)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'global'"):
        Magnitude(scope="globl")  # type: ignore[arg-type]
    with pytest.raises(NothingToDoError, match="selects no Linear"):
        pruned(Magnitude(include=("nothing*",)), image_task())
    with pytest.raises(LayerError, match="norm1 is a BatchNorm2d"):
        pruned(Magnitude(include=("norm1", "conv1")), image_task())
    model = copy.deepcopy(vector_task().model)
    nn.utils.parametrizations.weight_norm(model.first)
    with pytest.raises(LayerError, match="first"):
        pruned(Magnitude(include=("first",)), vector_task(), model)


def test_it_says_what_it_leaves() -> None:
    assert Magnitude.traits == {"zeros"} and Magnitude().requirements() == frozenset()
    assert hash(Recipe((Magnitude(), Magnitude(sparsity=0.7)))) != hash(Recipe((Magnitude(),)))
