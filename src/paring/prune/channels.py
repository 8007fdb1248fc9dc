"""Structured pruning: whole output channels really removed, coupled ones together."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError, UnknownNameError
from paring.graph.edits.slice import SliceChannels
from paring.graph.groups import ChannelGroup, Member, channel_groups, producers_of
from paring.graph.targets import targets
from paring.numerics.importance import Norm, Scope, channel_norms, count_of, group_importance, lowest

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@final
@dataclass(frozen=True)
class Channels(Pass):
    """Removes the least important output channels of Linear and convolution layers, with all that is coupled to them.

    `scope` "layer" takes `pruning_ratio` of each group, "global" of all groups together, ranked by their importance
    relative to their group. The width kept is rounded up to a multiple of `round_to`. A group is cut when `include`
    selects any layer that produces its channels and `exclude` names none of them. Masks are cut along with weights.
    Raises: SettingError; LayerError for a ratio that would empty a layer, or a layer named outright that cannot be cut.
    Reference: Li et al. 2017, arXiv:1608.08710; Fang et al. 2023 (DepGraph), arXiv:2301.12900.
    """

    name: ClassVar[str] = "prune.channels"
    needs: ClassVar[frozenset[str]] = frozenset()
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer layers cannot be traced for coupled channels. Prune first, then quantize."
    }

    pruning_ratio: float = 0.5  # fraction of channels removed
    importance: Norm = "l2"
    scope: Scope = "layer"
    round_to: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.pruning_ratio < 1:
            raise SettingError(
                f"{self.name}: pruning_ratio is {self.pruning_ratio}; it must lie between 0 and 1, both excluded."
            )
        for setting, allowed in (("importance", get_args(Norm)), ("scope", get_args(Scope))):
            if getattr(self, setting) not in allowed:
                raise UnknownNameError(setting, getattr(self, setting), allowed, self.name)
        if self.round_to < 1:
            raise SettingError(f"{self.name}: round_to is {self.round_to}; it must be a whole number of at least 1.")

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`. Raises TraceError if the model cannot be traced."""
        chosen: set[str] = set()
        for target in targets(self, model, KINDS):
            if isinstance(target, Declined):
                yield target
            else:
                chosen.add(target[0])
        groups = channel_groups(model, task.example_inputs, task.predict)
        seen = {layer for group in groups for layer in group.layers}
        yield from (self._refuse((layer,), "its output does not reach the model's") for layer in sorted(chosen - seen))
        willing: list[ChannelGroup] = []
        for group in groups:
            wanted = tuple(layer for layer in group.layers if layer in chosen)
            if wanted and (reason := self._reason(model, group)) is not None:
                yield from (self._refuse((layer,), reason) for layer in wanted)
            elif wanted:
                willing.append(group)
        before = _shape(model, task)
        alive: dict[tuple[str, int], tuple[int, ...]] = {}
        scores = [_importance(model, group, self.importance) for group in willing]
        for group, score, removed in zip(willing, scores, self._counts(scores), strict=True):
            kept = self._kept(group, removed)
            if kept == 0:
                yield self._refuse(group.layers, f"pruning_ratio {self.pruning_ratio} would remove all its channels")
            elif kept >= group.width:
                yield Declined(group.name, f"rounded to a multiple of {self.round_to} it keeps all its channels")
            else:
                units = lowest(_protected(group, score), group.width - kept).nonzero().flatten().tolist()
                yield SliceChannels(group.name, group.without(units, alive))
        if (after := _shape(model, task)) != before:
            names = ", ".join(group.name for group in willing)
            raise LayerError(
                f"{self.name}: cutting {names} changed the output from {before} to {after}. Exclude some of them."
            )

    def _reason(self, model: nn.Module, group: ChannelGroup) -> str | None:
        if group.blocked is not None:
            return group.blocked
        for name in producers_of(model, group):
            if any(fnmatchcase(name, pattern) for pattern in self.exclude):
                return f"its channels are coupled with those of {name}, which is excluded"
        return None

    def _refuse(self, layers: Sequence[str], reason: str) -> Declined:
        emptied = reason.startswith("pruning_ratio")
        if self.on_unsupported == "raise" and (emptied or any(layer in self.include for layer in layers)):
            advice = "Lower it, set round_to" if emptied else "Exclude it"
            raise LayerError(f'{self.name}: {layers[0]}: {reason}. {advice}, or set on_unsupported="skip".')
        return Declined(layers[0], reason)

    def _counts(self, scores: Sequence[Tensor]) -> list[int]:
        """How many units of each group to remove, before rounding."""
        if self.scope == "layer" or not scores:
            return [count_of(self.pruning_ratio, len(score)) for score in scores]
        every = torch.cat([score.cpu() for score in scores])
        gone = lowest(every, count_of(self.pruning_ratio, len(every)))
        return [int(part.sum()) for part in torch.split(gone, [len(score) for score in scores])]

    def _kept(self, group: ChannelGroup, removed: int) -> int:
        """Units to keep, so that the channels kept are a multiple of `round_to`; 0 where nothing would be left."""
        step = self.round_to // math.gcd(self.round_to, group.channels_per_unit)
        kept = group.width - removed
        return kept if step == 1 else math.ceil(max(kept, 1) / step) * step


def _importance(model: nn.Module, group: ChannelGroup, norm: Norm) -> Tensor:
    """Importance of each unit over the weights that make it and the weights that read it, (units,)."""
    weights = [member for member in group.members if _is_weight(member) and member.role != "follows"]
    return group_importance(
        [channel_norms(model.get_parameter(m.tensor), m.dim, m.indices, norm) for m in weights]
    ).cpu()


def _is_weight(member: Member) -> bool:
    return member.tensor.rpartition(".")[2] == "weight"


def _protected(group: ChannelGroup, score: Tensor) -> Tensor:
    """Scores under which no tensor that only part of the group runs through loses all its channels."""
    safe = score.clone()
    for member in group.members:
        through = [unit for unit, places in enumerate(member.indices) if places]
        if len(through) < group.width:
            safe[max(through, key=lambda unit: (float(score[unit]), -unit))] = math.inf
    return safe


def _shape(model: nn.Module, task: Task) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(task.predict(copy.deepcopy(model).eval(), task.example_inputs).shape)
