"""What every engine offers: a session over one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class InputSpec:
    """Name, shape (None where any length goes) and dtype of one input or output of a file."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        return f"{self.name} {shown(self.shape)} {self.dtype}"


def shown(shape: Sequence[int | None] | None) -> str:
    """`(?, 3, 32, 32)`."""
    if shape is None:
        return "(any shape)"
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


class Session(Protocol):
    """One opened file on one Target. It closes when nothing refers to it."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the file's order."""

    def run(self, inputs: Arrays) -> list[Array]:
        """All outputs in the file's order, as arrays the caller owns. Raises EngineError if an input does not fit."""

    def prepare(self, inputs: Arrays) -> Callable[[], object]:
        """A call without arguments that computes `inputs` again, with as little around the engine as it allows.

        Inputs are checked, converted and bound once, here; what the call returns is the engine's affair.
        Raises: EngineError if an input does not fit.
        """


class FileSession(Session, Protocol):
    """A session over a file, which says what it takes and gives."""

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Name, shape and dtype of every input, in the file's order."""

    @property
    def answers(self) -> tuple[InputSpec, ...]:
        """The same of every output."""
