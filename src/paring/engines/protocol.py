"""What every engine offers: a session over one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


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
