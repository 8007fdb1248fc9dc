"""What enters each block of a model over one data set, kept for sweeps over copies of it that differ further on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from paring.core.task import Batches
from paring.graph.replay import alike

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

MOST_BYTES = 2**29  # of streams kept


class Stops:
    """Of `model`, which must not change while the stops are in use, over `data`.

    Inside `shared()` every sweep over the same data begins at the last stop before which its model holds the numbers
    of this one, and leaves stops for the next.
    """

    def __init__(self, model: nn.Module, data: Batches) -> None:
        self._model, self._data = model, data
        self._inputs: dict[int, list[Arguments]] = {}
        self._num_bytes = 0
        self.extras: list[list[Arguments]] = []
        self._names: tuple[str, ...] = ()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Sweeps begun inside know of the stops."""
        token = _KNOWN.set(self)
        try:
            yield
        finally:
            _KNOWN.reset(token)

    def last(self, model: nn.Module, names: Sequence[str], block: int) -> tuple[int, list[Arguments]] | None:
        """The last stop at or before `block` that is one of `model`'s too, and what enters there."""
        if tuple(names) != self._names or not self._begins_alike(model):
            return None
        found = None
        for place in range(block + 1):
            if place in self._inputs:
                found = place, list(self._inputs[place])
            if not self.same_block(model, place):
                break
        return found

    def begin(self, model: nn.Module, names: Sequence[str], inputs: list[Arguments], extras: Any) -> bool:
        """Keeps the first stop, where `model` begins as this one; whether it does."""
        if not self._begins_with(model, tuple(names)):
            return False
        self._names, self.extras = tuple(names), extras
        self.keep(0, inputs)
        return True

    def keep(self, block: int, inputs: list[Arguments]) -> None:
        """Keeps what enters `block`, as long as there is room."""
        size = sum(one.numel() * one.element_size() for args, _ in inputs for one in args if isinstance(one, Tensor))
        if block not in self._inputs and self._num_bytes + size <= MOST_BYTES:
            self._inputs[block] = list(inputs)
            self._num_bytes += size

    def same_block(self, model: nn.Module, block: int) -> bool:
        """Whether a block of `model` holds this one's numbers."""
        name = self._names[block]
        return _same(self._model.get_submodule(name), model.get_submodule(name))

    def _begins_with(self, model: nn.Module, names: tuple[str, ...]) -> bool:
        known = dict(self._model.named_modules())
        if any(name not in known for name in names):
            return False
        self._names = self._names or names
        return names == self._names and self._begins_alike(model)

    def _begins_alike(self, model: nn.Module) -> bool:
        """Whether all that is in no block is alike: some of it runs before the first."""
        blocks = tuple(f"{name}." for name in self._names)
        outside = [name for name, _ in self._model.named_modules() if not f"{name}.".startswith(blocks)]
        other = dict(model.named_modules())
        return all(alike(self._model.get_submodule(name), other.get(name)) for name in outside)


def known_stops(data: Batches) -> Stops | None:
    """The stops that sweeps over `data` share here, if any."""
    stops = _KNOWN.get()
    return stops if stops is not None and stops._data is data else None


_KNOWN: ContextVar[Stops | None] = ContextVar("stops", default=None)


def _same(one: nn.Module, other: nn.Module) -> bool:
    known = dict(other.named_modules())
    return all(alike(module, known.get(name)) for name, module in one.named_modules())
