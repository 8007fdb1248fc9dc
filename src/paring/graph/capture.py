"""What enters a layer over the calibration data, behind whatever of the model is compressed already.

A sweep over a model in blocks (an encoder, a Sequential) keeps the inputs of the block it is in, and runs that block
alone: O(depth) forwards for the whole sweep. Elsewhere the model runs from its start, and only as far as the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Batches, call
from paring.errors import BatchError, ForwardError, LayerError
from paring.graph.blocks import find_blocks, first_tensor
from paring.graph.sites import submodule
from paring.graph.stops import Arguments, Stops, known_stops
from paring.numerics.hessian import Moments

_HERE = object()  # where the stream goes among the arguments of a block


class _Reached(Exception):  # noqa: N818
    """The last call of the layer in this forward has been seen."""


class Sweep:
    """Visits the inputs of layers one after another, each behind the edits made so far.

    Ask in the order of `order(layers)`; between two questions the model may change at the layers asked for already.
    Raises: BatchError for a data set without batches.
    Example: `sweep = Sweep(model, task.calibration, "factorize.svd")`, `sweep.inputs("fc1", moments.add_)`.
    """

    def __init__(self, model: nn.Module, data: Batches, where: str) -> None:
        self._model, self._data, self._where = model, data, where
        first = next(iter(data), None)
        if first is None:
            raise BatchError(f"{where}: task.calibration holds no batch; give at least one.")
        self._blocks, self._calls = find_blocks(model, first[0])
        self._at = -1
        self._cached: list[Arguments] = []
        self._extras: list[list[Arguments]] = []
        self._stops = known_stops(data)
        self._is_shared = False  # whether the cached inputs are those of the stops' own model too

    def order(self, layers: list[str]) -> list[str]:
        """`layers` in the order in which the forward first reaches them; unreached ones last."""
        position = {name: place for place, name in enumerate(self._calls)}
        return sorted(layers, key=lambda name: position.get(name, len(position)))

    def reaches(self, layer: str) -> bool:
        """Whether the forward of the first batch calls this layer."""
        return layer in self._calls

    @torch.no_grad()
    def inputs(self, layer: str, visit: Callable[[Tensor], None], *, through: str | None = None) -> None:
        """Calls `visit` with every input of `layer`, over all batches; runs on until module `through` has answered.

        Raises: ForwardError naming the layer if `visit` finds NaN (LayerError) in its input.
        """
        module = submodule(self._model, layer)
        block = self._blocks.index_of(layer) if self._blocks is not None else None
        with ExitStack() as stack:
            stack.callback(self._model.train, self._model.training)
            self._model.eval()
            if block is not None and self._ends_inside(block, through) and self._go_to(block):
                assert self._blocks is not None
                stack.callback(self._hook(module, layer, visit, None).remove)
                for args, kwargs in self._cached:
                    _run_block(submodule(self._model, self._blocks.names[block]), args, kwargs)
                return
            stack.callback(
                self._hook(module, layer, visit, None if through is not None else self._calls.get(layer)).remove
            )
            for batch_inputs, _ in self._data:
                self._run(batch_inputs)

    def as_in_stops(self, layer: str) -> Stops | None:
        """The stops that this sweep shares, where what enters `layer` here enters it in their model too: nothing before
        its block differs, nor anything in it but the layer."""
        block = self._blocks.index_of(layer) if self._blocks is not None else None
        if self._stops is None or block is None or self._calls.get(layer) != 1:
            return None
        if submodule(self._model, layer)._forward_pre_hooks:  # they may change what enters
            return None
        with torch.no_grad(), ExitStack() as stack:
            stack.callback(self._model.train, self._model.training)
            self._model.eval()
            if not self._go_to(block) or not self._is_shared:
                return None
        return self._stops if self._stops.same_but_for(self._model, block, layer) else None

    def _ends_inside(self, block: int, through: str | None) -> bool:
        assert self._blocks is not None
        return through is None or f"{through}.".startswith(f"{self._blocks.names[block]}.")

    def _hook(self, module: nn.Module, layer: str, visit: Callable[[Tensor], None], last: int | None) -> Any:
        seen = 0

        def see(_module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal seen
            x = first_tensor(args, kwargs, floating=False)
            assert x is not None
            try:
                visit(x)
            except LayerError as error:
                raise ForwardError(
                    f"{self._where}: {layer}: {error} in its input on the calibration data. "
                    "Clean the data, or check the weights."
                ) from error
            seen += 1
            if last is not None and seen % last == 0:
                raise _Reached

        return module.register_forward_pre_hook(see, with_kwargs=True)

    def _run(self, inputs: Any) -> None:
        with suppress(_Reached):
            call(self._model, inputs)

    def _go_to(self, block: int) -> bool:
        """Brings the cache to the inputs of `block`, from the start again where it is past; False without blocks."""
        if block < self._at or self._at < 0:
            self._start(block)
        if self._blocks is None:
            return False
        while self._at < block:
            if self._stops is not None:
                self._is_shared = self._is_shared and self._stops.same_block(self._model, self._at)
            module = submodule(self._model, self._blocks.names[self._at])
            for place, (args, kwargs) in enumerate(self._cached):
                carried = _first_output(_run_block(module, args, kwargs))
                extra_args, extra_kwargs = self._extras[place][self._at + 1]
                self._cached[place] = _with_first(extra_args, extra_kwargs, carried)
            self._at += 1
            if self._stops is not None and self._is_shared:
                self._stops.keep(self._at, self._cached)
        return True

    def _start(self, block: int) -> None:
        """The cache at the last stop known before `block`, or at the first block after one pass over the data."""
        assert self._blocks is not None
        found = None if self._stops is None else self._stops.last(self._model, self._blocks.names, block)
        self._is_shared = found is not None
        if self._stops is not None and found is not None:
            self._at, self._cached = found
            self._extras = self._stops.extras
            return
        self._record()
        if self._stops is not None and self._blocks is not None:
            self._is_shared = self._stops.begin(self._model, self._blocks.names, self._cached, self._extras)

    def _record(self) -> None:
        """One pass over the data: the inputs of the first block, and what the later ones take besides the stream."""
        assert self._blocks is not None
        self._cached, self._extras = [], []
        for inputs, _ in self._data:
            rows = self._rows_of(inputs, self._blocks.names)
            if rows is None:  # this batch takes another way through the model
                self._blocks, self._cached, self._extras = None, [], []
                return
            self._cached.append(rows[0])
            self._extras.append([((), {}), *rows[1:]])
        self._at = 0

    def _rows_of(self, inputs: Any, names: tuple[str, ...]) -> list[Arguments] | None:
        """What each block takes on one batch, the stream left out but in the first; None if they form no row there."""
        rows: list[Arguments] = []
        stream: list[tuple[Tensor, int]] = []
        holds = True

        def enter(place: int, args: Any, kwargs: Any) -> None:
            nonlocal holds
            x = first_tensor(args, kwargs)
            holds &= place == len(rows) and x is not None
            if holds and place > 0:
                [(given, version)] = stream
                known = {id(value) for value in (*rows[0][0], *rows[0][1].values())}
                besides = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value is not x)
                holds = x is given and given._version == version and all(id(value) in known for value in besides)
            if not holds:
                raise _Reached
            rows.append((args, kwargs) if place == 0 else _with_first(args, kwargs, _HERE))
            if place == len(names) - 1:
                raise _Reached

        def leave(_module: nn.Module, _args: Any, answer: Any) -> None:
            output = _first_output(answer)
            stream[:] = [(output, output._version)]

        with ExitStack() as stack:
            for place, name in enumerate(names):
                module = submodule(self._model, name)
                see = partial(_entering, enter, place)
                stack.callback(module.register_forward_pre_hook(see, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(leave).remove)
            self._run(inputs)
        return rows if holds and len(rows) == len(names) else None


def _entering(enter: Callable[[int, Any, Any], None], place: int, _module: nn.Module, args: Any, kwargs: Any) -> None:
    enter(place, args, kwargs)


def _with_first(args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Arguments:
    """The same arguments with the first float tensor (or the place kept for it) replaced by `value`."""
    for place, item in enumerate(args):
        if item is _HERE or (isinstance(item, Tensor) and item.is_floating_point()):
            return (*args[:place], value, *args[place + 1 :]), kwargs
    for name, item in kwargs.items():
        if item is _HERE or (isinstance(item, Tensor) and item.is_floating_point()):
            return args, kwargs | {name: value}
    raise AssertionError("a block without a tensor argument")


def _run_block(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The block on a copy of its stream: it may work in place."""
    stream = first_tensor(args, kwargs)
    assert stream is not None
    args, kwargs = _with_first(args, kwargs, stream.clone())
    return module(*args, **kwargs)


def _first_output(answer: Any) -> Tensor:
    found = answer[0] if isinstance(answer, tuple) else answer
    assert isinstance(found, Tensor)
    return found


@torch.no_grad()
def input_shapes(model: nn.Module, layers: list[str], inputs: Any) -> dict[str, tuple[int, ...]]:
    """The shape of what enters each layer on these inputs, at its first call; layers not reached are left out."""
    shapes: dict[str, tuple[int, ...]] = {}
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        for name in layers:

            def see(_m: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                x = first_tensor(args, kwargs, floating=False)
                if x is not None:
                    shapes.setdefault(name, tuple(x.shape))

            stack.callback(submodule(model, name).register_forward_pre_hook(see, with_kwargs=True).remove)
        call(model, inputs)
    return shapes


def unfolded(layer: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """The rows that the layer multiplies its weight with: (n, in) for Linear, im2col for Conv2d, in chunks.

    Example: Conv2d(16, 32, 3) on (8, 16, 10, 10) -> rows of 144, 8 x 64 of them in all.
    """
    if isinstance(layer, nn.Linear):
        yield x.reshape(-1, x.shape[-1])
        return
    assert isinstance(layer, nn.Conv2d) and layer.groups == 1
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    per_image = max(1, x.shape[2] * x.shape[3] * layer.weight[0].numel())
    for part in torch.split(x, max(1, 2**24 // per_image)):
        padded = torch.nn.functional.pad(part, tuple(layer._reversed_padding_repeated_twice), mode=mode)
        columns = torch.nn.functional.unfold(
            padded,
            layer.weight.shape[2:],
            dilation=layer.dilation,
            stride=layer.stride,
        )
        yield columns.transpose(1, 2).reshape(-1, columns.shape[1])


def input_moments(sweep: Sweep, layer: str, module: nn.Linear | nn.Conv2d) -> Moments:
    """Second moment of a layer's inputs over the calibration data (im2col for a convolution), float64.

    Stops that are shared keep it for the next sweep to which the same enters the layer: not to be changed.
    Raises: ForwardError naming the layer if its input holds NaN or infinity.
    """
    stops, view = sweep.as_in_stops(layer), (layer, *_view_of(module))
    known = stops.moments(view) if stops is not None else None
    if known is not None:
        return known
    moments = Moments(module.weight[0].numel())

    def add(x: Tensor) -> None:
        for rows in unfolded(module, x):
            moments.add_(rows)

    sweep.inputs(layer, add)
    if stops is not None:
        stops.keep_moments(view, moments)
    return moments


def _view_of(layer: nn.Linear | nn.Conv2d) -> tuple[object, ...]:
    """What `unfolded` depends on besides the input."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    return layer.in_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.padding_mode
