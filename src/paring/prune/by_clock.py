"""Widths chosen by measured time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

from torch import nn

from paring.clock.chain import Conv, Gemm, scaled
from paring.clock.costs import Cost, costs_ms
from paring.clock.layers import chain_of
from paring.core.target import Target
from paring.core.task import Task, batch_size_of
from paring.graph.capture import input_shapes
from paring.graph.groups import ChannelGroup

CLOSE = 1.03  # widths this near to the fastest count as fast as it
GRIDS = ((16, 1), (64, 4), (256, 8), (1024, 16))  # up to so many channels, candidates stand so far apart
COARSEST = 32

Shape = tuple[int, ...]
Sizes = tuple[int, int]  # channels of a layer's input and output


@final
@dataclass(frozen=True)
class ByClock:
    """Each width rounded up to the widest that costs no more: channels that `target`'s kernels give for nothing stay.

    The Linears and convolutions that make or read the channels are timed at the width asked for and at wider ones, once
    a machine; then kept in a table. Of the widths within 3 % of the fastest the widest is taken, which may be the
    whole group: then it is left alone. `int8` times the quantized forms, for recipes that quantize afterwards.
    Convolutions with groups are not timed.
    """

    target: Target = field(default_factory=Target)
    int8: bool = False

    def width(self, model: nn.Module, task: Task, group: ChannelGroup, kept: int) -> int:
        """Units to keep, at least `kept`. Raises EngineError if the engine or precision is not there."""
        shapes = input_shapes(model, list(_sizes(model, group, kept)), task.example_inputs)
        batch = batch_size_of(task.example_inputs)
        inputs = {layer: scaled(shape, self.target.batch_size, batch) for layer, shape in shapes.items()}
        costs = {units: self._costs(model, group, inputs, units) for units in _candidates(kept, group)}
        ms = costs_ms((one for row in costs.values() for one in row), self.target)
        totals = {units: sum(ms[one] for one in row) for units, row in costs.items()}
        fastest = min(totals.values())
        return max(units for units, total in totals.items() if total <= CLOSE * fastest)

    def _costs(self, model: nn.Module, group: ChannelGroup, inputs: Mapping[str, Shape], units: int) -> list[Cost]:
        found = []
        for layer, (num_in, num_out) in _sizes(model, group, units).items():
            if layer in inputs:  # the forward reaches it
                (op,) = chain_of(model.get_submodule(layer))
                assert isinstance(op, Gemm | Conv)
                shape = _with_channels(inputs[layer], num_in, 1 if isinstance(op, Conv) else -1)
                cut = replace(op, num_in=num_in, num_out=num_out)
                found.append(Cost((cut,), shape, "int8" if self.int8 else "float"))
        return found


def _candidates(kept: int, group: ChannelGroup) -> list[int]:
    """Units from `kept` to all of them, on a grid of channels that grows coarser with the width."""
    channels = group.width * group.channels_per_unit
    step = next((step for limit, step in GRIDS if channels <= limit), COARSEST)
    wider = (units for units in range(kept + 1, group.width) if units * group.channels_per_unit % step == 0)
    return sorted({kept, *wider, group.width})


def _sizes(model: nn.Module, group: ChannelGroup, units: int) -> Mapping[str, Sizes]:
    """What the layers that the clock can time would measure with so many of the group's units."""
    gone: dict[str, dict[int, int]] = defaultdict(lambda: {0: 0, 1: 0})
    for member in group.members:
        layer, _, leaf = member.tensor.rpartition(".")
        if leaf == "weight" and member.dim in (0, 1) and chain_of(model.get_submodule(layer)):
            gone[layer][member.dim] += sum(len(places) for places in member.indices[units:])
    found = {}
    for layer, removed in gone.items():
        num_out, num_in = model.get_submodule(layer).weight.shape[:2]  # type: ignore[index]
        found[layer] = (int(num_in) - removed[1], int(num_out) - removed[0])
    return found


def _with_channels(shape: Shape, channels: int, dim: int) -> Shape:
    sizes = list(shape)
    sizes[dim] = channels
    return tuple(sizes)
