"""Scores for the units of coupled groups: the lowest go. One criterion a function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from paring.core.task import Task
from paring.errors import LayerError, MissingError
from paring.graph.capture import Sweep, input_moments
from paring.graph.curvature import output_curvature
from paring.graph.groups import ChannelGroup, Member
from paring.graph.readers import Reader, Responses, activity, output_positions, readers_of, responses, weight_rows
from paring.numerics.importance import channel_norms, group_importance
from paring.numerics.obs import damped, unit_errors
from paring.numerics.units import median_distances, redundancy_scores

Importance = Literal["l1", "l2", "batch_norm", "geometric_median", "taylor", "activation", "apoz", "redundancy", "obs"]
CALIBRATED = frozenset({"taylor", "activation", "apoz", "redundancy", "obs"})
COMPARABLE = frozenset({"taylor", "obs"})  # in units of the loss: compared between groups as they are
DAMPING = 1e-2
READERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
NORMS = nn.modules.batchnorm._NormBase


@dataclass(frozen=True)
class Scores:
    """A score for every unit of every group, (units,) float64 each, or the reason why a group has none."""

    units: list[Tensor | str]
    responses: dict[str, Responses] = field(default_factory=dict)


def unit_scores(
    model: nn.Module, groups: Sequence[ChannelGroup], importance: Importance, task: Task, where: str
) -> Scores:
    """Scores by the criterion `importance`. Raises MissingError where it needs data that the task lacks."""
    if importance in CALIBRATED and task.calibration is None:
        raise MissingError(f"{where}: importance {importance!r} needs task.calibration, and the task has none.")
    if not groups:
        return Scores([])
    match importance:
        case "l1" | "l2":
            return Scores([_norms(model, group, importance) for group in groups])
        case "batch_norm":
            return Scores([_scales(model, group) for group in groups])
        case "geometric_median":
            return Scores([_distances(model, group) for group in groups])
        case "taylor":
            return Scores(list(_taylor(model, groups, task)))
        case "obs":
            return Scores(_obs(model, groups, task, where))
    assert task.calibration is not None
    sweep = Sweep(model, task.calibration, where)
    found: list[Tensor | str] = []
    seen: dict[str, Responses] = {}
    for group in groups:
        readers = [reader for reader in readers_of(model, group, READERS) if sweep.reaches(reader.layer)]
        if not readers:
            found.append("no Linear or convolution reads its channels, so its activations cannot be seen")
        elif importance == "redundancy":
            try:
                seen[group.name] = responses(model, sweep, readers)
                found.append(redundancy_scores(seen[group.name].covariance_UU))
            except LayerError as error:
                found.append(str(error))
        else:
            active = activity(model, sweep, readers)
            found.append(active.mean_abs_U if importance == "activation" else 1 - active.apoz_U)
    return Scores(found, seen)


def protected(group: ChannelGroup, score: Tensor) -> Tensor:
    """Scores under which no tensor that only part of the group runs through loses all its channels."""
    safe = score.clone()
    for member in group.members:
        through = [unit for unit, places in enumerate(member.indices) if places]
        if len(through) < group.width:
            safe[max(through, key=lambda unit: (float(score[unit]), -unit))] = math.inf
    return safe


def weights_of(group: ChannelGroup) -> list[Member]:
    """The weights that make or read the units."""
    return [m for m in group.members if m.tensor.rpartition(".")[2] == "weight" and m.role != "follows"]


def _norms(model: nn.Module, group: ChannelGroup, norm: Literal["l1", "l2"]) -> Tensor:
    """Over the weights that make a unit and those that read it."""
    return group_importance(
        [channel_norms(model.get_parameter(m.tensor), m.dim, m.indices, norm) for m in weights_of(group)]
    ).cpu()


def _scales(model: nn.Module, group: ChannelGroup) -> Tensor | str:
    """|gamma| of the batch norms behind a unit (Liu et al. 2017, network slimming, arXiv:1708.06519)."""
    scales = [
        channel_norms(model.get_parameter(m.tensor), 0, m.indices, "l1")
        for m in group.members
        if m.role == "follows"
        and m.tensor.endswith("weight")
        and isinstance(model.get_submodule(m.tensor.rpartition(".")[0]), NORMS)
    ]
    return torch.stack(scales).mean(0).cpu() if scales else "no batch norm with a scale follows its channels"


def _distances(model: nn.Module, group: ChannelGroup) -> Tensor | str:
    made = [m for m in weights_of(group) if m.role == "produces" and len({len(own) for own in m.indices}) == 1]
    if not made:
        return "its layers hold unevenly many channels of each unit"
    return group_importance([median_distances(weight_rows(model, member)) for member in made]).cpu()


def _taylor(model: nn.Module, groups: Sequence[ChannelGroup], task: Task) -> list[Tensor]:
    """Mean over batches of (sum of gradient x weight)^2 of a unit (Molchanov et al. 2019, arXiv:1906.10771)."""
    assert task.calibration is not None
    parameters = dict(model.named_parameters(remove_duplicate=False))
    made = [[m for m in group.members if m.role != "consumes" and m.tensor in parameters] for group in groups]
    names = list(dict.fromkeys(member.tensor for members in made for member in members))
    tensors = [parameters[name] for name in names]
    frozen = [parameter for parameter in tensors if not parameter.requires_grad]
    found = [torch.zeros(group.width, dtype=torch.float64) for group in groups]
    was_training, batches = model.training, 0
    model.eval()
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for inputs, target in task.calibration:
            with torch.enable_grad():
                loss = task.loss(task.predict(model, inputs), target)
                slopes = torch.autograd.grad(loss, tensors, allow_unused=True)
            effect = {
                name: (slope * parameters[name]).detach().double()
                for name, slope in zip(names, slopes, strict=True)
                if slope is not None
            }
            for total, members in zip(found, made, strict=True):
                total += sum((_summed(effect[m.tensor], m) for m in members if m.tensor in effect), 0 * total) ** 2
            batches += 1
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        model.train(was_training)
    return [total / max(batches, 1) for total in found]


def _summed(effect: Tensor, member: Member) -> Tensor:
    entries = effect.movedim(member.dim, 0).flatten(1).sum(1).cpu() if effect.ndim > 1 else effect.cpu()
    unit = torch.tensor([u for u, own in enumerate(member.indices) for _ in own])
    place = torch.tensor([i for own in member.indices for i in own])
    return torch.zeros(len(member.indices), dtype=torch.float64).index_add_(0, unit, entries[place])


def _obs(model: nn.Module, groups: Sequence[ChannelGroup], task: Task, where: str) -> list[Tensor | str]:
    """Loss that the outputs of a group's readers lose with each unit, per multiply-accumulate saved."""
    assert task.calibration is not None
    sweep = Sweep(model, task.calibration, where)
    by_group = [
        [reader for reader in readers_of(model, group, (nn.Linear, nn.Conv2d)) if sweep.reaches(reader.layer)]
        for group in groups
    ]
    layers = list(dict.fromkeys(reader.layer for readers in by_group for reader in readers))
    counts = output_curvature(model, layers, task, where)
    sizes = output_positions(model, task, [layer_of(m) for group in groups for m in weights_of(group)])
    found: list[Tensor | str] = []
    for group, readers in zip(groups, by_group, strict=True):
        if not readers:
            found.append("no Linear or Conv2d reads its channels, so they cannot be rebuilt")
            continue
        total = torch.zeros(group.width, dtype=torch.float64)
        for reader in readers:
            module = model.get_submodule(reader.layer)
            assert isinstance(module, nn.Linear | nn.Conv2d)
            own = _columns(reader, module.weight[0, 0].numel())
            if isinstance(own, str):
                found.append(own)
                break
            there, places_US = own
            second_II = input_moments(sweep, reader.layer, module).second_II
            H_II = damped(second_II, DAMPING)
            # Inputs that are always zero lose nothing; damping alone would charge for them.
            W_OI = module.weight.detach().flatten(1).cpu() * (second_II.diagonal() > 0)
            total[there] += unit_errors(W_OI, H_II, places_US, counts[reader.layer])
        else:
            saved = sum(model.get_parameter(m.tensor).numel() / m.size * sizes[layer_of(m)] for m in weights_of(group))
            found.append(total / max(saved, 1))
    return found


def layer_of(member: Member) -> str:
    """The layer whose tensor it is."""
    return member.tensor.rpartition(".")[0]


def _columns(reader: Reader, field_size: int) -> tuple[Tensor, Tensor] | str:
    """(units read, the weight's columns of each): one input channel of a convolution takes `field_size` of them."""
    there = [unit for unit, own in enumerate(reader.places) if own]
    if len({len(reader.places[unit]) for unit in there}) != 1:
        return f"{reader.layer} reads unevenly many inputs of each unit"
    steps = range(field_size)
    columns = [[place * field_size + step for place in reader.places[unit] for step in steps] for unit in there]
    return torch.tensor(there), torch.tensor(columns)
