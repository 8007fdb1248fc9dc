"""PyTorch eager behind the protocol of `paring.engines`, for the rows that the literature compares with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from paring.core.task import Inputs, Task, call, pick_output, tensors_of
from paring.engines.protocol import Array, Arrays
from paring.errors import EngineError


@final
@dataclass(frozen=True, eq=False)
class EagerSession:
    """A module in eval mode under `inference_mode`, fp32, with `threads` threads.

    `run` sets the threads itself; a prepared call leaves them alone, since who times sets them once (`steady`).
    """

    model: nn.Module
    example_inputs: Inputs
    threads: int = 1
    output: Callable[[Any], Tensor] = pick_output

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(tensors_of(self.example_inputs))

    def run(self, inputs: Arrays) -> list[Array]:
        arguments = self._arguments(inputs)
        with torch_threads(self.threads), torch.inference_mode():
            return [self.output(call(self.model, arguments)).numpy().copy()]

    def prepare(self, inputs: Arrays) -> Callable[[], object]:
        model, arguments = self.model, self._arguments(inputs)

        def again() -> object:
            with torch.inference_mode():
                return call(model, arguments)

        again()
        return again

    def _arguments(self, inputs: Arrays) -> Inputs:
        """`inputs` in the shape of the example: a tensor, a tuple or a dict; what is no tensor there is kept."""
        if inputs.keys() != set(self.input_names):
            raise EngineError(f"torch: inputs are {sorted(inputs)}, and the module takes {list(self.input_names)}.")
        tensors = {name: torch.tensor(array) for name, array in inputs.items()}
        example = self.example_inputs
        if isinstance(example, Tensor):
            return tensors["inputs"]
        if isinstance(example, tuple | list):
            return tuple(tensors.get(f"inputs[{index}]", value) for index, value in enumerate(example))
        return {name: tensors.get(name, value) for name, value in example.items()}


def eager_session(task: Task, model: nn.Module, *, threads: int = 1) -> EagerSession:
    """`model` (put in eval mode) as a session over the inputs of `task`."""
    return EagerSession(model.eval(), task.example_inputs, threads, task.output)


def as_inputs(inputs: Inputs) -> dict[str, Array]:
    """One batch's tensors as arrays, named as `EagerSession.input_names`."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors_of(inputs).items()}


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Runs the block with `threads` threads per PyTorch operator, then restores the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
