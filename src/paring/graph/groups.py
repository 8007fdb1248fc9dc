"""Channels that must be removed together: which indices of which tensors make up one unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from paring.errors import LayerError, TraceError
from paring.graph.dependency import Call, DependencyTrace, Touch
from paring.graph.edits.slice import Slice
from paring.graph.sites import names_of, sharers
from paring.graph.twin import broken_groups

Role = Literal["produces", "follows", "consumes"]


@dataclass(frozen=True)
class Member:
    """One dimension of one tensor: `indices[u]` are the places along `dim` that belong to unit u of the group."""

    tensor: str
    dim: int
    size: int
    indices: tuple[tuple[int, ...], ...]
    role: Role


@dataclass(frozen=True)
class ChannelGroup:
    """Coupled channels, named for the first layer that produces them.

    `width` units; removing unit u removes `indices[u]` of every member. `layers` produce the channels. `blocked` says
    why the group must not be cut.
    Example: conv1(3 -> 8), bn1, flattened and read by fc(8 * 16 -> 10): width 8; fc.weight dim 1, 16 indices a unit.
    """

    name: str
    width: int
    channels_per_unit: int
    members: tuple[Member, ...]
    layers: tuple[str, ...]
    ends_in_output: bool = False
    blocked: str | None = None

    def without(self, units: Iterable[int], alive: dict[tuple[str, int], tuple[int, ...]]) -> tuple[Slice, ...]:
        """The slices that remove `units`; `alive` maps (tensor, dim) to the original indices left, and is updated."""
        gone = frozenset(units)
        slices: list[Slice] = []
        for member in self.members:
            removed = {index for unit in gone for index in member.indices[unit]}
            before = alive.get((member.tensor, member.dim), tuple(range(member.size)))
            kept = tuple(place for place, index in enumerate(before) if index not in removed)
            if len(kept) < len(before):
                alive[member.tensor, member.dim] = tuple(before[place] for place in kept)
                slices.append((member.tensor, member.dim, kept))
        return tuple(slices)


class BlockedError(LayerError):
    """Why a group cannot be cut."""


def channel_groups(
    model: nn.Module, example_inputs: Any, call: Call, only: Collection[str] | None = None
) -> tuple[ChannelGroup, ...]:
    """Every group of coupled channels, in `named_modules` order, each channel of a layer in at most one.

    `call(model, inputs)` gives the scored tensor (`task.predict`). Groups come from Torch-Pruning's dependency graph
    over a copy; each is then proved on the example inputs: a copy without half its units must answer as one does that
    reads nothing from them. What fails that is blocked, as is what runs through unknown modules or ends in the output.
    `only`: groups that none of these layers produces are left unproved, which saves two forwards for each.
    Raises: TraceError if the model cannot be traced.
    """
    trace = DependencyTrace(model, example_inputs, call)
    covered: dict[str, set[int]] = defaultdict(set)
    tied = sharers(model)
    groups: list[ChannelGroup] = []
    for layer, channels in trace.roots():
        left = [channel for channel in range(channels) if channel not in covered[layer]]
        if not left:
            continue
        group, touches = _group(model, trace, layer, left, tied)
        covered[layer].update(left)
        for touch in touches:
            if touch.side == "out":
                covered[touch.name].update(index for _, index in touch.pairs)
        groups.append(group)
    unproved = [
        group for group in groups if group.blocked is None and (only is None or not set(group.layers).isdisjoint(only))
    ]
    broken = broken_groups(model, unproved, example_inputs, call)
    return tuple(replace(group, blocked=broken.get(group.name, group.blocked)) for group in groups)


def _group(
    model: nn.Module, trace: DependencyTrace, layer: str, left: list[int], tied: dict[str, tuple[str, ...]]
) -> tuple[ChannelGroup, list[Touch]]:
    touches: list[Touch] = []
    units: list[list[int]] = [[root] for root in left]
    members: list[Member] = []
    blocked: str | None = None
    try:
        touches = trace.reach(layer, left)
        _refuse(touches, tied)
        units = _units(model, touches, left)
        members = [member for touch in touches for member in _members(model.get_submodule(touch.name), touch, units)]
        if len(units) < 2:
            raise BlockedError("it has a single channel to keep")
    except BlockedError as reason:
        blocked = str(reason)
    except TraceError as error:
        blocked = str(error).removeprefix(f"{layer}: ")
    output = any(touch.side == "output" for touch in touches)
    produced = [layer, *(touch.name for touch in touches if touch.side == "out" and _produces(model, touch.name))]
    group = ChannelGroup(
        name=layer,
        width=len(units),
        channels_per_unit=max(len(unit) for unit in units),
        members=tuple(members),
        layers=tuple(dict.fromkeys(produced)),
        ends_in_output=output,
        blocked="its channels end in the model's output" if output else blocked,
    )
    return group, touches


def _produces(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name), nn.modules.conv._ConvNd | nn.Linear | nn.Embedding)


def _refuse(touches: list[Touch], tied: dict[str, tuple[str, ...]]) -> None:
    for touch in touches:
        if touch.side == "unknown":
            raise BlockedError(
                f"its channels run through {touch.name or 'the model itself'}, whose layout is not known"
            )
        if touch.name in tied:
            raise BlockedError(
                f"its channels reach {touch.name}, whose weight is shared with {', '.join(tied[touch.name])}"
            )


def _units(model: nn.Module, touches: list[Touch], left: list[int]) -> list[list[int]]:
    """Root channels that can only go together: one each, or one of each part where a layer works in parts."""
    parent = {root: root for root in left}

    def find(root: int) -> int:
        while parent[root] != root:
            root = parent[root]
        return root

    for touch in touches:
        if touch.side == "output":
            continue
        size, parts = _parts(model.get_submodule(touch.name), touch)
        if any(index >= size for _, index in touch.pairs):
            raise BlockedError(f"its channels are broadcast against those of {touch.name}")
        if parts == 1:
            continue
        found: dict[int, list[int]] = defaultdict(list)
        for root, index in touch.pairs:
            found[index % (size // parts)].append(root)
        for roots in found.values():
            if len(roots) != parts:
                raise BlockedError(f"{touch.name} works in {parts} parts, and its channels come from several layers")
            for root in roots[1:]:
                parent[max(find(root), find(roots[0]))] = min(find(root), find(roots[0]))
    units: dict[int, list[int]] = defaultdict(list)
    for root in left:
        units[find(root)].append(root)
    return [units[first] for first in sorted(units)]


def _parts(module: nn.Module, touch: Touch) -> tuple[int, int]:
    """(channels, parts) of the side of a module that a group touches; equal numbers must go from every part."""
    match module:
        case nn.modules.conv._ConvNd():
            if module.groups > 1 and (module.transposed or module.groups == module.out_channels != module.in_channels):
                raise BlockedError(f"{touch.name} is a grouped convolution of a kind that cannot be cut")
            depthwise = module.groups == module.in_channels == module.out_channels
            size = module.in_channels if touch.side == "in" else module.out_channels
            return size, 1 if depthwise else module.groups
        case nn.Linear():
            return (module.in_features if touch.side == "in" else module.out_features), 1
        case nn.Embedding():
            return module.embedding_dim, 1
        case nn.GroupNorm():
            return module.num_channels, module.num_groups
        case nn.LayerNorm():
            if len(module.normalized_shape) != 1 or not module.elementwise_affine:
                raise BlockedError(f"{touch.name} is a LayerNorm without weights, or over several dimensions")
            return module.normalized_shape[0], 1
        case nn.modules.instancenorm._InstanceNorm() if not module.affine and not module.track_running_stats:
            raise BlockedError(f"{touch.name} is an instance norm without weights, whose size cannot be mended")
        case nn.PReLU():
            return (module.num_parameters if module.num_parameters > 1 else len(touch.pairs)), 1
    assert isinstance(module.num_features, int)
    return module.num_features, 1


def _members(module: nn.Module, touch: Touch, units: list[list[int]]) -> list[Member]:
    if touch.side == "output" or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
        return []
    along: dict[int, list[int]] = defaultdict(list)
    for root, index in touch.pairs:
        along[root].append(index)
    dims, role = _layout(module, touch)
    members = []
    places: dict[int, tuple[tuple[int, ...], ...]] = {}
    for leaf, dim in dims.items():
        tensor = module._parameters.get(leaf) if leaf in module._parameters else module._buffers.get(leaf)
        if tensor is None:
            continue
        size = tensor.shape[dim]
        if size not in places:
            # The inputs of a grouped convolution share one stretch of its weight, whichever part they belong to.
            places[size] = tuple(tuple(sorted({i % size for root in unit for i in along[root]})) for unit in units)
        members.append(Member(f"{touch.name}.{leaf}" if touch.name else leaf, dim, size, places[size], role))
    return members


def _layout(module: nn.Module, touch: Touch) -> tuple[dict[str, int], Role]:
    """(tensor -> dimension that carries the channels, role)."""
    if isinstance(module, nn.Embedding):
        return {"weight": 1}, "produces"
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        transposed = isinstance(module, nn.modules.conv._ConvNd) and module.transposed
        if touch.side == "in":
            return {"weight": 0 if transposed else 1}, "consumes"
        return {"weight": 1 if transposed else 0, "bias": 0}, "produces"
    return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), 0), "follows"


def producers_of(model: nn.Module, group: ChannelGroup) -> tuple[str, ...]:
    """Every name of every layer that produces the group's channels (a module may stand in the tree twice)."""
    return tuple(name for layer in group.layers for name in names_of(model, layer))
