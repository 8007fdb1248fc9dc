"""Stops: what enters each block of a model on every batch of one data set, for sweeps over copies of that model.
Second moments of what enters its layers are kept too.

A solver tries hundreds of changes of one layer each. What lies before the layer computes the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from paring.core.task import Batches
from paring.graph.blocks import first_tensor
from paring.graph.replay import alike
from paring.numerics.hessian import Moments

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

MOST_BYTES = 2**29  # of streams kept
MOST_MOMENTS = 2**28  # bytes of second moments kept, the latest


class Stops:
    """Of `model` over `data`, both of which must not change while the stops are in use.

    Inside `shared()` a sweep over the same data, of a model that begins as this one does, starts at the last stop
    before their first difference and leaves stops for the next sweep. Models are told apart by `replay.alike`.
    """

    def __init__(self, model: nn.Module, data: Batches) -> None:
        self._model, self._data = model, data
        self._inputs: dict[int, list[Arguments]] = {}
        self._num_bytes = 0
        self._names: tuple[str, ...] = ()
        self._moments: dict[object, Moments] = {}
        self.extras: list[list[Arguments]] = []  # of each batch, what each block takes besides the stream

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
        if tuple(names) != self._names or not self._begins_alike(model, self._names):
            return None
        found = None
        for place in range(block + 1):
            if place in self._inputs:
                found = place, list(self._inputs[place])
            if not self.same_block(model, place):
                break
        return found

    def begin(
        self, model: nn.Module, names: Sequence[str], inputs: list[Arguments], extras: list[list[Arguments]]
    ) -> bool:
        """Keeps the first stop of `model`, where it begins as this one does; whether it does."""
        if self._names not in ((), tuple(names)) or not self._begins_alike(model, tuple(names)):
            return False
        if not self._inputs:
            self._names, self.extras = tuple(names), extras
        self.keep(0, inputs)
        return True

    def keep(self, block: int, inputs: list[Arguments]) -> None:
        """Keeps what enters `block`, as long as there is room."""
        streams = [first_tensor(args, kwargs) for args, kwargs in inputs]
        size = sum(one.numel() * one.element_size() for one in streams if isinstance(one, Tensor))
        if block not in self._inputs and self._num_bytes + size <= MOST_BYTES:
            self._inputs[block] = list(inputs)
            self._num_bytes += size

    def moments(self, view: object) -> Moments | None:
        """Of what enters a layer of this model; `view` is whatever they were kept under."""
        found = self._moments.pop(view, None)
        if found is not None:
            self._moments[view] = found  # the latest
        return found

    def keep_moments(self, view: object, found: Moments) -> None:
        """Keeps them, and forgets the ones asked for longest ago where there is no more room."""
        if found.num_bytes > MOST_MOMENTS:
            return
        self._moments[view] = found
        while sum(one.num_bytes for one in self._moments.values()) > MOST_MOMENTS:
            del self._moments[next(iter(self._moments))]

    def same_but_for(self, model: nn.Module, block: int, layer: str) -> bool:
        """Whether a block of `model` is as this one's but for `layer` and what is in it."""
        name = self._names[block]
        own, its = (dict(one.get_submodule(name).named_modules(prefix=name)) for one in (self._model, model))
        others = (part for part in own if not f"{part}.".startswith(f"{layer}."))
        return all(alike(own[part], its.get(part)) for part in others)

    def same_block(self, model: nn.Module, block: int) -> bool:
        """Whether a block of `model` is as this one's."""
        name = self._names[block]
        own, its = (dict(one.get_submodule(name).named_modules()) for one in (self._model, model))
        return all(alike(module, its.get(part)) for part, module in own.items())

    def _begins_alike(self, model: nn.Module, names: tuple[str, ...]) -> bool:
        """Whether all that is called outside the blocks is alike: some of it runs before the first."""
        blocks = tuple(f"{name}." for name in names)
        own, its = (dict(one.named_modules(remove_duplicate=False)) for one in (self._model, model))
        outside = (name for name in own if not f"{name}.".startswith(blocks))
        return all(name in own for name in names) and all(alike(own[name], its.get(name)) for name in outside)


def known_stops(data: Batches) -> Stops | None:
    """The stops that sweeps over `data` share here, if any."""
    stops = _KNOWN.get()
    return stops if stops is not None and stops._data is data else None


_KNOWN: ContextVar[Stops | None] = ContextVar("stops", default=None)
