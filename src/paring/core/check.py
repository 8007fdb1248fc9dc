"""Looks a task over before any work is done, so that a mistake costs one line and not an hour."""

from __future__ import annotations

import copy
import warnings
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Batches, Inputs, Task, call, tensors_of
from paring.errors import BatchError, ForwardError, ShapeError, TaskError

SPLITS = ("calibration", "validation", "test", "train")


def check_task(task: Task) -> None:
    """Raises BatchError, ForwardError or TaskError, naming the split, the input or the layer."""
    check_weights(task.model)
    check_forward(task, task.example_inputs, "example_inputs")
    for split in SPLITS:
        data = getattr(task, split)
        if data is None:
            continue
        inputs, target = check_batches(data, split)
        if split != "train":
            check_shapes(task, inputs, split)
        output = check_forward(task, inputs, f"the first batch of {split}")
        check_lengths(output, target, split)
        if split in ("validation", "test"):
            check_metric(task, output, target, split)


def check_shapes(task: Task, inputs: Inputs, split: str) -> None:
    """Raises BatchError where an input has another shape than the exported file will take."""
    examples = tensors_of(task.example_inputs)
    for name, tensor in tensors_of(inputs).items():
        example = examples.get(name)
        if example is None or example.ndim != tensor.ndim:
            continue
        for dim, (got, wanted) in enumerate(zip(tensor.shape, example.shape, strict=True)):
            if got != wanted and dim not in task.dynamic_dims:
                dims = tuple(sorted({*task.dynamic_dims, dim}))
                raise BatchError(
                    f"{split}: {name} of the first batch is {tuple(tensor.shape)} and of example_inputs "
                    f"{tuple(example.shape)}: dimension {dim} may not vary. Give Task(dynamic_dims={dims}), or "
                    "inputs of one size."
                )


def check_weights(model: nn.Module) -> None:
    """Raises TaskError for a parameter or buffer that holds NaN or infinity."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise TaskError(f"{name}: the weight holds NaN or infinity. Load a sound checkpoint.")


def check_batches(data: Batches, split: str) -> tuple[Inputs, Any]:
    """The first batch of `data`, after a look at every batch; of `train`, which may be huge, at the first only.

    Raises: BatchError if there is none, or one is not (inputs, target) or holds NaN.
    """
    first = None
    for number, batch in enumerate(islice(data, 1 if split == "train" else None), start=1):
        where = f"{split}: the first batch" if number == 1 else f"{split}: batch {number}"
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            got = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
            raise BatchError(f"{where} is {got}; it must be (inputs, target), inputs a tensor, tuple, list or dict.")
        inputs, target = batch
        check_finite(inputs, where)
        first = first or (inputs, target)
    if first is None:
        raise BatchError(f"{split}: it holds no batch; give at least one.")
    return first


def check_finite(inputs: Inputs, where: str) -> None:
    """Raises BatchError if an input tensor holds NaN or infinity, or there is none."""
    named = tensors_of(inputs) if isinstance(inputs, Tensor | tuple | list | dict) or hasattr(inputs, "items") else {}
    if not named:
        raise BatchError(
            f"{where}: inputs is {type(inputs).__name__} without a tensor; give a tensor, tuple, list or dict."
        )
    for name, tensor in named.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BatchError(f"{where}: {name} holds NaN or infinity. Clean the data, or drop those rows.")


def check_forward(task: Task, inputs: Inputs, where: str) -> Tensor:
    """The scored output for `inputs`. Raises ForwardError naming the input's shapes and the layer that failed."""
    probe = copy.deepcopy(task.model).eval()
    entered: list[str] = []
    for name, module in probe.named_modules():
        module.register_forward_pre_hook(lambda _m, _a, name=name: entered.append(name))
        module.register_forward_hook(lambda _m, _a, _o: entered.remove(entered[-1]))
    try:
        with torch.no_grad():
            answer = call(probe, inputs)
    except Exception as error:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors_of(inputs).items())
        layer = entered[-1] if entered and entered[-1] else "the model itself"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = ". Give a whole batch, its rows along dimension 0, such as x[:1]" if where == "example_inputs" else ""
        raise ForwardError(f"{where}: the forward fails in {layer} on {shapes}: {reason}{hint}") from error
    output = _picked(task, answer, where)
    if not torch.isfinite(output).all():
        raise ForwardError(f"{where}: the model answers NaN or infinity. Check the weights and the input scaling.")
    return output


def _picked(task: Task, answer: Any, where: str) -> Tensor:
    try:
        output = task.output(answer)
    except ForwardError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ForwardError(f"{where}: task.output fails on the model's {type(answer).__name__}: {reason}") from error
    if not isinstance(output, Tensor) or output.ndim == 0:
        got = type(output).__name__ if not isinstance(output, Tensor) else "single number"
        raise ForwardError(f"{where}: task.output gives a {got}; it must give a tensor, (batch, ...).")
    return output


def check_lengths(output: Tensor, target: Any, split: str) -> None:
    """Raises BatchError if outputs and targets differ in length."""
    length = len(target) if hasattr(target, "__len__") else None
    if length != len(output):
        raise BatchError(f"{split}: {len(output)} outputs but {length} targets in the first batch; they must match.")


def check_metric(task: Task, output: Tensor, target: Any, split: str) -> None:
    """Raises BatchError where the metric refuses the shapes or class numbers of the first batch.

    What else it raises may be for want of more batches (an AUC of one class), and is left to the whole split.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they may be for want of more batches too
            task.metric.function(output, torch.as_tensor(target))
    except ShapeError as error:
        raise BatchError(f"{split}: the first batch does not suit the metric {task.metric.name}. {error}") from error
    except Exception:
        return
