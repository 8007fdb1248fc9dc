"""What named layers give while a model runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Inputs, Task
from paring.errors import ForwardError
from paring.graph.sites import submodule


@contextmanager
def watch(model: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """A dict that each forward fills: layer -> its (first) output; a layer called twice leaves its last.

    Raises: UnknownNameError for a layer the model lacks. The hooks are gone when the context ends.
    """
    seen: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for layer in dict.fromkeys(layers):

            def see(_module: nn.Module, _args: Any, answer: Any, layer: str = layer) -> None:
                if (tensor := first_output(answer)) is not None:
                    seen[layer] = tensor

            stack.callback(submodule(model, layer).register_forward_hook(see).remove)
        yield seen


def first_output(answer: Any) -> Tensor | None:
    """The float tensor that a layer answers, or the first of a tuple."""
    tensor = answer[0] if isinstance(answer, tuple) and answer else answer
    return tensor if isinstance(tensor, Tensor) and tensor.is_floating_point() else None


@torch.no_grad()
def glimpse(
    model: nn.Module, task: Task, layers: Iterable[str], where: str, inputs: Inputs | None = None
) -> dict[str, Tensor]:
    """What `layers` give on `inputs` or `task.example_inputs`, in eval mode; mode and statistics are kept.

    Raises: UnknownNameError for a layer the model lacks, ForwardError for one that the forward never reaches.
    """
    wanted = tuple(layers)
    was_training = model.training
    with watch(model, wanted) as seen:
        try:
            task.predict(model.eval(), task.example_inputs if inputs is None else inputs)
        finally:
            model.train(was_training)
    for layer in wanted:
        if layer not in seen:
            raise ForwardError(f"{where}: {layer} gives no float tensor in a forward. Name a layer that does.")
    return {layer: seen[layer] for layer in wanted}
