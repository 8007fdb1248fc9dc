"""Which layers are chosen for together: those that share channels, each layer in one unit."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from paring.allocate.option import Unit
from paring.core.edit import Declined
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import TraceError
from paring.graph.edits.mask import MASK
from paring.graph.groups import ChannelGroup, channel_groups
from paring.graph.targets import targets

MATRICES = (nn.Linear, nn.Conv2d)
Width = Literal["apart", "together", "kept"]
WIDTHS: tuple[Width, ...] = get_args(Width)
MOST_LAYERS = 4  # channels that run through more layers tie too much together


def units_of(step: Pass, model: nn.Module, task: Task, *, width: Width) -> tuple[list[Unit], list[Declined]]:
    """Units over the Linear, Conv2d and Embedding layers that `step` selects, and what it must leave alone.

    Width "apart": channel groups become units while they share no layer, small ones first, so that of a chain every
    other group may become narrower. "together": groups that share layers are one unit, cut alike throughout. "kept":
    no group is cut. Every other layer is a unit of its own.
    Raises: NothingToDoError if nothing is selected.
    """
    modules: dict[str, nn.Module] = {}
    declined: list[Declined] = []
    for found in targets(step, model, (*MATRICES, nn.Embedding)):
        if isinstance(found, Declined):
            declined.append(found)
        elif not found[0]:
            declined.append(Declined("the model itself", "it is a single layer, which an edit cannot replace"))
        elif isinstance(found[1], nn.Conv2d) and found[1].groups > 1:
            declined.append(Declined(found[0], "it is a grouped convolution, for which there are no options yet"))
        else:
            modules[found[0]] = found[1]
    units: list[Unit] = []
    taken: set[str] = set()
    for groups in _cut_alike(model, task, modules, width):
        layers = tuple(name for name in modules if any(name in _layers(group) for group in groups))
        if not taken & set(layers):
            taken |= set(layers)
            producers = tuple(dict.fromkeys(name for group in groups for name in group.layers))
            units.append(Unit(groups[0].name, layers, producers, _linears(modules, layers)))
    for name, module in modules.items():
        if name not in taken:
            units.append(Unit(name, (name,), (), _linears(modules, (name,)), isinstance(module, nn.Embedding)))
    place = {name: position for position, name in enumerate(modules)}
    return sorted(units, key=lambda unit: place[unit.layers[0]]), declined


def _linears(modules: dict[str, nn.Module], layers: tuple[str, ...]) -> tuple[str, ...]:
    """Those that a low rank may replace: no zeros in them, which factors would fill."""
    return tuple(name for name in layers if type(modules[name]) is nn.Linear and MASK not in modules[name]._buffers)


def _cut_alike(model: nn.Module, task: Task, modules: dict[str, nn.Module], width: Width) -> list[list[ChannelGroup]]:
    """Groups that are to have one width option between them; apart, small ones first."""

    def weight(group: ChannelGroup) -> int:
        return sum(
            model.get_parameter(member.tensor).numel()
            for member in group.members
            if member.role != "follows" and member.tensor.endswith("weight")
        )

    def usable(group: ChannelGroup) -> bool:
        layers = _layers(group)
        return layers <= modules.keys() and not any(isinstance(modules[name], nn.Embedding) for name in layers)

    found = [] if width == "kept" else [one for one in _groups(model, task) if usable(one)]
    if width == "apart":
        small = [one for one in found if len(one.layers) + len(_consumers(one)) <= MOST_LAYERS]
        return [[one] for one in sorted(small, key=lambda group: (len(group.layers), -weight(group), group.name))]
    joined: list[list[ChannelGroup]] = []
    for group in found:
        touching = [one for one in joined if any(_layers(group) & _layers(other) for other in one)]
        joined = [one for one in joined if one not in touching] + [
            [other for one in touching for other in one] + [group]
        ]
    return joined


def _groups(model: nn.Module, task: Task) -> list[ChannelGroup]:
    try:
        return [one for one in channel_groups(model, task.example_inputs, task.predict) if one.blocked is None]
    except TraceError:
        return []


def _layers(group: ChannelGroup) -> set[str]:
    """Those whose channels go, and those that read them."""
    return {*group.layers, *_consumers(group)}


def _consumers(group: ChannelGroup) -> set[str]:
    """The layers that read the group's channels."""
    return {member.tensor.rpartition(".")[0] for member in group.members if member.role == "consumes"}
