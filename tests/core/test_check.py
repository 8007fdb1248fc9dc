"""A task's mistakes are found before any work, each in one line that says where."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring import Task, batches
from paring.core.check import check_task
from paring.errors import BatchError, ForwardError, ParingError, TaskError
from tests.nets import TASKS, image_task


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_sound_task_passes_and_its_model_is_untouched(name: str) -> None:
    task = TASKS[name]()
    hooks = [len(module._forward_hooks) for module in task.model.modules()]
    check_task(task)
    assert [len(module._forward_hooks) for module in task.model.modules()] == hooks


def broken(**changes: object) -> Task:
    return replace(image_task(), **changes)  # type: ignore[arg-type]


def nan_weight() -> Task:
    task = image_task()
    task.model.head.weight.data[0, 0] = torch.nan
    return task


X, Y = torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)

CASES = [
    (lambda: broken(calibration=[]), BatchError, "calibration: it holds no batch"),
    (lambda: broken(validation=[X]), BatchError, "validation: the first batch is Tensor of 4; it must be (inputs"),
    (lambda: broken(train=[(X, Y, Y)]), BatchError, "train: the first batch is tuple of 3"),
    (lambda: broken(test=[({}, Y)]), BatchError, "test: the first batch: inputs is dict without a tensor"),
    (lambda: broken(validation=[(X * torch.nan, Y)]), BatchError, "validation: the first batch: inputs holds NaN"),
    (lambda: broken(validation=[(X, Y[:3])]), BatchError, "validation: 4 outputs but 3 targets"),
    (lambda: broken(example_inputs=torch.rand(2, 3, 8, 8)), ForwardError, "fails in stem on inputs (2, 3, 8, 8)"),
    (lambda: broken(output=lambda _: torch.tensor([torch.nan])), ForwardError, "answers NaN"),
    (nan_weight, TaskError, "head.weight: the weight holds NaN"),
]


@pytest.mark.parametrize(("make", "kind", "words"), CASES, ids=[words for _, _, words in CASES])
def test_each_mistake_is_one_line(make, kind: type[ParingError], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind) as caught:
        check_task(make())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_pass_iterators_and_non_models_are_refused_at_construction() -> None:
    with pytest.raises(TaskError, match="teachers is a tuple; it must be a dict"):
        broken(teachers=(nn.Identity(),))
    with pytest.raises(TaskError, match="validation is a one-pass iterator"):
        broken(validation=iter([(X, Y)]))
    with pytest.raises(TaskError, match=r"must be a torch\.nn\.Module"):
        broken(model="net.pt")
    with pytest.raises(TaskError, match="holds no tensor"):
        broken(example_inputs=())


def test_output_that_is_no_tensor_says_what_to_give() -> None:
    class Odd(nn.Module):
        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"scores": inputs}

    task = Task(Odd(), torch.rand(2, 3), batches(torch.rand(4, 3), Y), nn.CrossEntropyLoss(), image_task().metric)
    with pytest.raises(ForwardError, match=r"Give Task\(output=...\)"):
        check_task(task)
