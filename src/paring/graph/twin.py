"""Proof that a group is right: a model without some units answers as its twin does that reads nothing from them.

Whether channels hang together does not depend on the numbers, so the proof runs on a copy with fresh weights of even
scale, where a wrong coupling shows; trained weights may hide it behind a large bias or an almost uniform attention.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from paring.graph.dependency import KNOWN, Call
from paring.graph.edits.slice import SliceChannels

if TYPE_CHECKING:
    from paring.graph.groups import ChannelGroup


def broken_groups(model: nn.Module, groups: Sequence[ChannelGroup], example_inputs: Any, call: Call) -> dict[str, str]:
    """Group name -> reason, for each group whose slices do not do what they should; all are tried at once first."""
    if not groups:
        return {}
    probe = evenly_weighted(model)
    if not torch.isfinite(_answer(probe, example_inputs, call)).all():
        probe = copy.deepcopy(model).eval()  # a model with a logarithm or the like: its own weights are what there is
    if _reason(probe, groups, example_inputs, call) is None:
        return {}
    alone = {group.name: _reason(probe, [group], example_inputs, call) for group in groups}
    broken = {name: reason for name, reason in alone.items() if reason is not None}
    sound = [group for group in groups if group.name not in broken]
    if sound and (together := _reason(probe, sound, example_inputs, call)) is not None:
        broken |= {group.name: together for group in sound}
    return broken


def _reason(probe: nn.Module, groups: Sequence[ChannelGroup], example_inputs: Any, call: Call) -> str | None:
    twin = _answer(unread_twin(probe, groups), example_inputs, call)
    try:
        cut = _answer(sliced(probe, groups), example_inputs, call)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"without some of its channels the forward fails: {first}"
    if cut.shape != twin.shape:
        return "without some of its channels the model's output has another shape"
    return None if _close(cut, twin) else "its channels are mixed in a way that the trace does not show"


@torch.no_grad()
def evenly_weighted(model: nn.Module) -> nn.Module:
    """A copy in eval mode with seeded random weights, whose norms across channels work on each channel alone."""
    probe = copy.deepcopy(model).eval()
    generator = torch.Generator().manual_seed(0)
    for module in probe.modules():
        if type(module) not in KNOWN:
            continue
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                fan_in = 1 if isinstance(module, nn.Embedding) else max(parameter[0].numel(), 1)
                numbers = torch.randn(parameter.shape, generator=generator) * (1.5 / fan_in) ** 0.5
                # Scales of norms stay near one, biases small.
                parameter.copy_(0.2 * numbers + (leaf == "weight") if parameter.ndim == 1 else numbers)
        if type(module) in CHANNELWISE:
            module.__class__ = CHANNELWISE[type(module)]
    return probe


def _channelwise(norm: type[nn.Module], dim: int) -> type[nn.Module]:
    class Channelwise(norm):  # type: ignore[misc, valid-type]
        """Bounded like a norm, but no channel sees another, so that removing one leaves the others as they are."""

        def forward(self, x: Tensor) -> Tensor:
            shape = [-1 if i == dim % x.ndim else 1 for i in range(x.ndim)]
            scale, shift = (1 if p is None else p.reshape(shape) for p in (self.weight, self.bias))
            return torch.tanh(x) * scale + (0 if self.bias is None else shift)

    return Channelwise


CHANNELWISE = {nn.LayerNorm: _channelwise(nn.LayerNorm, -1), nn.GroupNorm: _channelwise(nn.GroupNorm, 1)}


def probe_units(width: int) -> list[int]:
    """Half of the units, rounded down, drawn with a fixed seed."""
    return sorted(torch.randperm(width, generator=torch.Generator().manual_seed(width))[: width // 2].tolist())


def sliced(model: nn.Module, groups: Iterable[ChannelGroup]) -> nn.Module:
    """A copy of `model` without the probe units of `groups`."""
    alive: dict[tuple[str, int], tuple[int, ...]] = {}
    slices = [one for group in groups for one in group.without(probe_units(group.width), alive)]
    # One edit for all: each looks the whole model over for shared tensors.
    return SliceChannels("probe", tuple(slices)).apply(copy.deepcopy(model))


@torch.no_grad()
def unread_twin(model: nn.Module, groups: Iterable[ChannelGroup]) -> nn.Module:
    """A copy of `model` whose layers read nothing from the probe units: those columns of their weights are zero."""
    twin = copy.deepcopy(model)
    for group in groups:
        units = probe_units(group.width)
        for member in group.members:
            if member.role == "consumes":
                index = torch.tensor(sorted({i for unit in units for i in member.indices[unit]}), dtype=torch.long)
                weight = twin.get_parameter(member.tensor)
                weight.index_fill_(member.dim, index.to(weight.device), 0.0)
    return twin


@torch.no_grad()
def _answer(model: nn.Module, example_inputs: Any, call: Call) -> Tensor:
    return call(model, example_inputs)


def _close(left: Tensor, right: Tensor) -> bool:
    tolerance = 1000 * torch.finfo(right.dtype).eps * float(right.abs().max())
    return bool(((left - right).abs() <= tolerance).all())
