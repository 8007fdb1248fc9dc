"""What the units of a group look like to the layers that read them, over the calibration data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Task
from paring.errors import LayerError
from paring.graph.capture import Sweep
from paring.graph.groups import ChannelGroup, Member
from paring.numerics.hessian import Moments


@dataclass(frozen=True)
class Reader:
    """A Linear or convolution that reads a group: `places[u]` are the input channels of unit u."""

    layer: str
    places: tuple[tuple[int, ...], ...]

    def flat(self) -> tuple[Tensor, Tensor]:
        """(unit, channel) of every input channel that belongs to a unit."""
        pairs = [(unit, place) for unit, own in enumerate(self.places) for place in own]
        return torch.tensor([u for u, _ in pairs]), torch.tensor([p for _, p in pairs])


def readers_of(model: nn.Module, group: ChannelGroup, kinds: tuple[type[nn.Module], ...]) -> list[Reader]:
    """The layers of these kinds that read the group, except grouped convolutions."""
    found = []
    for member in group.members:
        layer = member.tensor.rpartition(".")[0]
        module = model.get_submodule(layer)
        if member.role == "consumes" and isinstance(module, kinds) and getattr(module, "groups", 1) == 1:
            found.append(Reader(layer, member.indices))
    return found


def by_channel(module: nn.Module, x: Tensor) -> Tensor:
    """(n, channels): every position of every example a row."""
    channel = 1 if isinstance(module, nn.modules.conv._ConvNd) else x.ndim - 1
    return x.movedim(channel, -1).reshape(-1, x.shape[channel])


@dataclass
class Activity:
    """Of each unit over all readers: mean absolute activation and share of zeros, (units,)."""

    total_U: Tensor
    zeros_U: Tensor
    count_U: Tensor = field(repr=False)

    @property
    def mean_abs_U(self) -> Tensor:
        """Mean |activation|."""
        return self.total_U / self.count_U.clamp_min(1)

    @property
    def apoz_U(self) -> Tensor:
        """Average percentage of zeros, as a share (Hu et al. 2016, arXiv:1607.03250)."""
        return self.zeros_U / self.count_U.clamp_min(1)


def activity(model: nn.Module, sweep: Sweep, readers: Sequence[Reader]) -> Activity:
    """Activity of the units of one group. Raises ForwardError for NaN."""
    num_units = len(readers[0].places)
    total, zeros, count = (torch.zeros(num_units, dtype=torch.float64) for _ in range(3))
    for reader in readers:
        module = model.get_submodule(reader.layer)
        unit, place = reader.flat()

        def add(x: Tensor, module: nn.Module = module, unit: Tensor = unit, place: Tensor = place) -> None:
            rows = by_channel(module, x)
            if not torch.isfinite(rows).all():
                raise LayerError("NaN or infinity")
            total.index_add_(0, unit, rows.abs().sum(0, dtype=torch.float64).cpu()[place])
            zeros.index_add_(0, unit, (rows == 0).sum(0).double().cpu()[place])
            count.index_add_(0, unit, torch.full((len(place),), float(len(rows)), dtype=torch.float64))

        sweep.inputs(reader.layer, add)
    return Activity(total, zeros, count)


@dataclass(frozen=True)
class Responses:
    """How the units of a group vary together, and for each reader the mean of its input channels."""

    covariance_UU: Tensor
    means: dict[str, Tensor]


def responses(model: nn.Module, sweep: Sweep, readers: Sequence[Reader]) -> Responses:
    """Covariance of the units' responses, over all positions and readers. Raises LayerError for uneven units."""
    num_units = len(readers[0].places)
    covariance = torch.zeros(num_units, num_units, dtype=torch.float64)
    means: dict[str, Tensor] = {}
    for reader in readers:
        module = model.get_submodule(reader.layer)
        widths = {len(own) for own in reader.places if own}
        if len(widths) > 1:
            raise LayerError(f"{reader.layer} reads unevenly many inputs of each unit")
        weight = module._parameters["weight"]
        assert weight is not None
        moments = Moments(weight.shape[1])

        def add(x: Tensor, module: nn.Module = module, moments: Moments = moments) -> None:
            moments.add_(by_channel(module, x))

        sweep.inputs(reader.layer, add)
        means[reader.layer] = moments.mean_I
        there = torch.tensor([unit for unit, own in enumerate(reader.places) if own])
        places_US = torch.tensor([own for own in reader.places if own])
        spread_II = moments.covariance_II
        for column in places_US.unbind(1):
            covariance[there[:, None], there] += spread_II[column[:, None], column]
    return Responses(covariance, means)


def weight_rows(model: nn.Module, member: Member) -> Tensor:
    """What each unit holds of a tensor, one row a unit, (units, ...); units must hold alike many places."""
    tensor = model.get_parameter(member.tensor).detach().movedim(member.dim, 0).flatten(1)
    return tensor[torch.tensor(member.indices)].flatten(1)


@torch.no_grad()
def output_positions(model: nn.Module, task: Task, layers: Sequence[str]) -> dict[str, int]:
    """How many outputs of one channel each layer computes for the task's example, over all its calls."""
    found = dict.fromkeys(layers, 0)
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        for layer in found:

            def see(module: nn.Module, _args: Any, answer: Tensor, layer: str = layer) -> None:
                channel = 1 if isinstance(module, nn.modules.conv._ConvNd) else answer.ndim - 1
                found[layer] += answer.numel() // answer.shape[channel]

            stack.callback(model.get_submodule(layer).register_forward_hook(see).remove)
        task.predict(model, task.example_inputs)
    return found
