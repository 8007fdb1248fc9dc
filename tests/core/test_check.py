"""A task's mistakes are found before any work, each in one line that says where."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring import Task, batches
from paring.core.check import check_task
from paring.core.metric import Metric
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
    (
        lambda: broken(validation=[(X, Y + 4)]),
        BatchError,
        "validation: the first batch does not suit the metric accuracy",
    ),
    (
        lambda: broken(test=[(X, Y - 1)]),
        BatchError,
        "class numbers from -1 to -1, and outputs have 4 classes. Number them",
    ),
    (lambda: broken(test=[(X, torch.eye(4))]), BatchError, "test: the first batch does not suit the metric accuracy"),
    (
        lambda: broken(validation=[(torch.rand(4, 1, 8, 6), Y)]),
        BatchError,
        "(4, 1, 8, 6) and of example_inputs (2, 1, 8, 8): dimension 3 may not vary. Give Task(dynamic_dims=(0, 3))",
    ),
    (
        lambda: broken(calibration=[(torch.rand(4, 1, 6, 8), Y)]),
        BatchError,
        "calibration: inputs of the first batch is",
    ),
    (lambda: broken(validation=[(torch.rand(4, 1, 8, 6), Y)], dynamic_dims=()), BatchError, "Give Task(dynamic_dims=("),
    (lambda: broken(test=[(X, [4, 0, 0, 0])]), BatchError, "test: the first batch does not suit the metric accuracy"),
    (lambda: broken(example_inputs=torch.rand(2, 3, 8, 8)), ForwardError, "fails in stem on inputs (2, 3, 8, 8)"),
    (lambda: broken(example_inputs=torch.rand(8, 8)), ForwardError, "Give a whole batch, its rows along dimension 0"),
    (lambda: broken(output=lambda _: torch.tensor([torch.nan])), ForwardError, "answers NaN"),
    (nan_weight, TaskError, "head.weight: the weight holds NaN"),
]


@pytest.mark.parametrize(("make", "kind", "words"), CASES, ids=[words for _, _, words in CASES])
def test_each_mistake_is_one_line(make, kind: type[ParingError], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind) as caught:
        check_task(make())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_may_vary_and_what_a_metric_says_of_too_little_data_is_let_pass() -> None:
    def picky(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        raise ValueError("one class only")

    wide = [(torch.rand(4, 1, 8, 6), Y)]
    check_task(broken(train=wide))
    check_task(broken(validation=wide, dynamic_dims=(0, 3)))
    check_task(broken(metric=Metric("auc", picky)))
    check_task(broken(test=[(X, torch.tensor([0, 1, 2, -100]))]))  # one that is not to count


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
