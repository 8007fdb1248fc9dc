"""What the user brings: a trained model, its data, its loss and its metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.metric import Metric
from paring.core.scratch import Scratch
from paring.errors import ForwardError, TaskError

Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]
Batch = tuple[Inputs, Any]
Batches = Iterable[Batch]


def pick_output(answer: Any) -> Tensor:
    """The tensor to score: the answer itself, its `.logits`, or the first of a tuple."""
    for candidate in (
        answer,
        getattr(answer, "logits", None),
        answer[0] if isinstance(answer, tuple) else None,
    ):
        if isinstance(candidate, Tensor):
            return candidate
    raise ForwardError(
        f"the model returned {type(answer).__name__}, which is neither a tensor, a tuple nor an object with .logits. "
        "Give Task(output=...), a function that picks the tensor to score."
    )


def call(model: nn.Module, inputs: Inputs) -> Any:
    """`model` on one batch's inputs: a dict becomes keyword arguments, a tuple or list positional ones."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def tensors_of(inputs: Inputs) -> dict[str, Tensor]:
    """Every tensor of one batch's inputs under a name a reader can find: `input_ids`, `inputs[1]`, `inputs`."""
    if isinstance(inputs, Tensor):
        return {"inputs": inputs}
    pairs = inputs.items() if isinstance(inputs, Mapping) else ((f"inputs[{i}]", x) for i, x in enumerate(inputs))
    return {name: value for name, value in pairs if isinstance(value, Tensor)}


def batch_size_of(inputs: Inputs) -> int:
    """Length of the first dimension of the first tensor."""
    return len(next(iter(tensors_of(inputs).values())))


@dataclass(frozen=True)
class Task:
    """A trained `model` (never modified; also the default teacher) with everything needed to judge a smaller one.

    A batch is `(inputs, target)`, `inputs` a tensor or a tuple, list or dict of them, the batch along dimension 0. Data
    sets are iterated several times, so a DataLoader or a list fits and a generator does not. Selection sees
    `validation`; the headline figure comes once from `test`; statistics come from `calibration`. `students` are
    factories of smaller nets by name; `teachers` are nets that teach beside `model`. `dynamic_dims` are the dimensions
    of every input that may vary in the exported file: (0,) batch, (0, 1) batch and sequence. `scratch` is where
    trainings leave checkpoints.
    """

    model: nn.Module
    example_inputs: Inputs
    validation: Batches
    loss: Callable[[Tensor, Any], Tensor]
    metric: Metric
    calibration: Batches | None = None
    train: Batches | None = None
    test: Batches | None = None
    students: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    teachers: Mapping[str, nn.Module] = field(default_factory=dict)
    output: Callable[[Any], Tensor] = pick_output
    dynamic_dims: tuple[int, ...] = (0,)
    seed: int = 0
    name: str = "task"
    scratch: Scratch | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TaskError(f"Task: model is {type(self.model).__name__}; it must be a torch.nn.Module.")
        if not tensors_of(self.example_inputs):
            raise TaskError("Task: example_inputs holds no tensor; give a tensor, a tuple or a dict of tensors.")
        for field_name in ("students", "teachers"):
            if not isinstance(getattr(self, field_name), Mapping):
                got = type(getattr(self, field_name)).__name__
                raise TaskError(f"Task: {field_name} is a {got}; it must be a dict from names.")
        for split in ("validation", "calibration", "train", "test"):
            data = getattr(self, split)
            if data is not None and iter(data) is data:
                raise TaskError(
                    f"Task: {split} is a one-pass iterator ({type(data).__name__}), and Paring reads it several times. "
                    "Give a DataLoader, a list of batches, or paring.batches(inputs, targets)."
                )

    def predict(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """The tensor to score, for one batch."""
        return self.output(call(model, inputs))

    def real_inputs(self) -> Batches:
        """Batches to try a file on: `calibration`, or `validation` where there is none."""
        return self.validation if self.calibration is None else self.calibration

    def headline(self) -> tuple[str, Batches]:
        """The split that the headline figure comes from: `test`, or `validation` where there is none."""
        return ("validation", self.validation) if self.test is None else ("test", self.test)


@torch.no_grad()
def outputs_and_targets(task: Task, model: nn.Module, data: Batches) -> tuple[Tensor, Tensor]:
    """All outputs and targets of `data`, concatenated: (n, ...) and (n, ...). The model's mode is kept."""
    was_training = model.training
    model.eval()
    try:
        pairs = [(task.predict(model, inputs), torch.as_tensor(target)) for inputs, target in data]
    finally:
        model.train(was_training)
    if not pairs:
        raise TaskError("the data set holds no batch; give at least one.")
    return torch.cat([output for output, _ in pairs]), torch.cat([target for _, target in pairs])
