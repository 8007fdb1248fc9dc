"""Which layers are chosen for together: those that share channels, each layer in one unit."""

from __future__ import annotations

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
MOST_LAYERS = 4  # channels that run through more layers tie too much together


def units_of(step: Pass, model: nn.Module, task: Task, *, width: bool) -> tuple[list[Unit], list[Declined]]:
    """Units over the Linear, Conv2d and Embedding layers that `step` selects, and what it must leave alone.

    Channel groups become units while they share no layer, small ones first; every other layer is a unit of its own.
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
    for group in _groups(model, task) if width else ():
        layers = tuple(name for name in modules if name in {*group.layers, *_consumers(group, modules)})
        whole = set(group.layers) <= modules.keys() and _consumers(group, modules) <= modules.keys()
        if whole and not taken & set(layers) and not any(isinstance(modules[n], nn.Embedding) for n in layers):
            taken |= set(layers)
            units.append(Unit(group.name, layers, group.layers, _linears(modules, layers)))
    for name, module in modules.items():
        if name not in taken:
            units.append(Unit(name, (name,), (), _linears(modules, (name,)), isinstance(module, nn.Embedding)))
    place = {name: position for position, name in enumerate(modules)}
    return sorted(units, key=lambda unit: place[unit.layers[0]]), declined


def _linears(modules: dict[str, nn.Module], layers: tuple[str, ...]) -> tuple[str, ...]:
    """Those that a low rank may replace: no zeros in them, which factors would fill."""
    return tuple(name for name in layers if type(modules[name]) is nn.Linear and MASK not in modules[name]._buffers)


def _groups(model: nn.Module, task: Task) -> list[ChannelGroup]:
    try:
        found = channel_groups(model, task.example_inputs, task.predict)
    except TraceError:
        return []

    def weight(group: ChannelGroup) -> int:
        return sum(
            model.get_parameter(member.tensor).numel()
            for member in group.members
            if member.role != "follows" and member.tensor.endswith("weight")
        )

    usable = [
        one for one in found if one.blocked is None and len(one.layers) + len(_consumers(one, None)) <= MOST_LAYERS
    ]
    return sorted(usable, key=lambda group: (len(group.layers), -weight(group), group.name))


def _consumers(group: ChannelGroup, modules: dict[str, nn.Module] | None) -> set[str]:
    """The layers that read the group's channels."""
    return {member.tensor.rpartition(".")[0] for member in group.members if member.role == "consumes"}
