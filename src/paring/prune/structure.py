"""What the structured methods share: scores, widths, the cut, and the mending after it."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Changed, Declined, Edit, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError, UnknownNameError
from paring.graph.edits.slice import Slice, SliceChannels
from paring.graph.groups import ChannelGroup
from paring.graph.readers import readers_of
from paring.graph.reconstruct import reconstruct_, reestimate_batch_norm_
from paring.graph.stand_in import take_over_
from paring.graph.trace import batch_norm_pairs
from paring.graph.unit_scores import CALIBRATED, COMPARABLE, Importance, Scores, layer_of, protected, unit_scores
from paring.numerics.importance import Scope, count_of, lowest
from paring.prune.by_clock import ByClock

MENDED = (nn.Linear, nn.Conv2d)
Alive = dict[tuple[str, int], tuple[int, ...]]


@dataclass(frozen=True)
class Structured(Pass):
    """Removes units of coupled groups: subclasses say which groups there are.

    `importance` ranks the units: l1 and l2 norms, "batch_norm" scales, "geometric_median", first-order "taylor",
    "activation" (mean absolute response), "apoz" (share of zeros), "redundancy" (correlation with a survivor, which
    takes over the outgoing weights) or "obs" (what the readers lose although they make up for it, by least squares).
    `scope` "layer" takes `pruning_ratio` of each group, "global" of all together. With `threshold` only units beyond
    it go: below it for norms, scales and activation, above it for zeros and correlation; `pruning_ratio` is then the
    most that a group may lose. Widths are rounded up to a multiple of `round_to`, or by
    `ByClock(target)` to the widest that the target runs as fast. `reconstruct` refits the readers by
    least squares on the calibration data; where a reader cannot be refitted, `reestimate` measures the batch norms anew
    (behind refitted ones their statistics fit as they are: measured on what least squares shrank they do harm).
    """

    pruning_ratio: float = 0.5  # fraction of units removed
    importance: Importance = "l2"
    scope: Scope = "layer"
    round_to: int | ByClock = 1
    threshold: float | None = None
    reconstruct: bool = True
    reestimate: bool = True

    needs: ClassVar[frozenset[str]] = frozenset()
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer layers cannot be traced for coupled channels. Prune first, then quantize."
    }

    def __post_init__(self) -> None:
        if not 0 < self.pruning_ratio < 1:
            raise SettingError(
                f"{self.name}: pruning_ratio is {self.pruning_ratio}; it must lie between 0 and 1, both excluded."
            )
        for setting, allowed in (("importance", get_args(Importance)), ("scope", get_args(Scope))):
            if getattr(self, setting) not in allowed:
                raise UnknownNameError(setting, getattr(self, setting), allowed, self.name)
        if not isinstance(self.round_to, ByClock) and self.round_to < 1:
            raise SettingError(f"{self.name}: round_to is {self.round_to}; it must be a whole number of at least 1.")
        if self.threshold is not None and self.importance in COMPARABLE:
            raise SettingError(
                f"{self.name}: importance {self.importance!r} has no unit for a threshold. Leave it out."
            )

    def requirements(self) -> frozenset[str]:
        """Calibration data where the criterion or the mending needs them."""
        uses_data = self.importance in CALIBRATED or self.reconstruct or self.reestimate
        return self.needs | (frozenset({"calibration"}) if uses_data else frozenset())

    @abstractmethod
    def groups(self, model: nn.Module, task: Task) -> Iterator[ChannelGroup | Step]:
        """The groups to cut, and whatever else the pass has to say or to edit before."""

    def edit(self, model: nn.Module, group: ChannelGroup, kept: Sequence[int], slices: tuple[Slice, ...]) -> Edit:
        """The edit that keeps these units."""
        return SliceChannels(group.name, slices)

    def channels_of(self, group: ChannelGroup) -> int:
        """How many of what `round_to` counts one unit holds."""
        return group.channels_per_unit

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        found: list[ChannelGroup] = []
        for one in self.groups(model, task):
            if isinstance(one, ChannelGroup):
                found.append(one)
            else:
                yield one
        scored = unit_scores(model, found, self.importance, task, self.name)
        groups: list[ChannelGroup] = []
        scores: list[Tensor] = []
        for group, score in zip(found, scored.units, strict=True):
            if isinstance(score, str):
                yield self.refuse(group.layers, score)
            else:
                groups.append(group)
                scores.append(score)
        yield from self._cut(model, task, groups, scores, scored)

    def _cut(
        self, model: nn.Module, task: Task, groups: list[ChannelGroup], scores: list[Tensor], scored: Scores
    ) -> Iterator[Step]:
        before = _shape(model, task)
        original = copy.deepcopy(model).eval() if self.reconstruct and groups else model
        alive: Alive = {}
        cut: list[ChannelGroup] = []
        for group, score, removed in zip(groups, scores, self._counts(scores), strict=True):
            kept = self._kept(model, task, group, removed)
            if kept == 0:
                yield self.refuse(group.layers, f"pruning_ratio {self.pruning_ratio} would remove all its channels")
            elif kept >= group.width:
                yield Declined(group.name, self._whole(removed))
            else:
                units = lowest(protected(group, score), group.width - kept).nonzero().flatten().tolist()
                stay = [unit for unit in range(group.width) if unit not in set(units)]
                if group.name in scored.responses:
                    take_over_(model, group, stay, scored.responses[group.name])
                yield self.edit(model, group, stay, group.without(units, alive))
                cut.append(group)
        if (after := _shape(model, task)) != before:
            names = ", ".join(group.name for group in cut)
            raise LayerError(
                f"{self.name}: cutting {names} changed the output from {before} to {after}. Exclude some of them."
            )
        if cut:
            yield from self._mend(original, model, task, cut, alive)

    def _mend(
        self, original: nn.Module, model: nn.Module, task: Task, cut: list[ChannelGroup], alive: Alive
    ) -> Iterator[Step]:
        changed: list[str] = []
        reading = {layer_of(m) for group in cut for m in group.members if m.role == "consumes"}
        if self.reconstruct:
            norms = dict(batch_norm_pairs(model, task.example_inputs))
            readers = [reader.layer for group in cut for reader in readers_of(model, group, MENDED)]
            layers = [
                layer for layer in dict.fromkeys(readers) if "weight_mask" not in model.get_submodule(layer)._buffers
            ]
            reconstruct_(original, model, layers, alive, norms, task)
            changed += layers
        if self.reestimate and task.calibration is not None and not reading <= set(changed):
            changed += reestimate_batch_norm_(model, task.calibration)
        if changed:
            yield Changed(tuple(changed))

    def refuse(self, layers: Sequence[str], reason: str) -> Declined:
        """Declined, or LayerError where the layer was named outright or would be emptied."""
        emptied = reason.startswith("pruning_ratio")
        if self.on_unsupported == "raise" and (emptied or any(layer in self.include for layer in layers)):
            advice = "Lower it, set round_to" if emptied else "Exclude it"
            raise LayerError(f'{self.name}: {layers[0]}: {reason}. {advice}, or set on_unsupported="skip".')
        return Declined(layers[0], reason)

    def _whole(self, removed: int) -> str:
        if self.threshold is not None and removed == 0:
            return f"none of its units is beyond the threshold {self.threshold:g}"
        if isinstance(self.round_to, ByClock):
            return f"with all its channels {self.round_to.target} is measured as fast as with fewer"
        return f"rounded to a multiple of {self.round_to} it keeps all its channels"

    def _counts(self, scores: Sequence[Tensor]) -> list[int]:
        """How many units of each group to remove, before rounding."""
        if self.threshold is not None:
            limit = 1 - self.threshold if self.importance in ("apoz", "redundancy") else self.threshold
            most = [min(count_of(self.pruning_ratio, len(score)), len(score) - 1) for score in scores]
            return [min(int((score < limit).sum()), top) for score, top in zip(scores, most, strict=True)]
        if self.scope == "layer" or not scores:
            return [count_of(self.pruning_ratio, len(score)) for score in scores]
        every = torch.cat([self._comparable(score) for score in scores])
        gone = lowest(every, count_of(self.pruning_ratio, len(every)))
        return [int(part.sum()) for part in torch.split(gone, [len(score) for score in scores])]

    def _comparable(self, score: Tensor) -> Tensor:
        if self.importance in COMPARABLE:
            return score
        known = score[score.isfinite()]
        return score / (known.mean() if len(known) else torch.tensor(1.0)).clamp_min(torch.finfo(score.dtype).tiny)

    def _kept(self, model: nn.Module, task: Task, group: ChannelGroup, removed: int) -> int:
        """Units to keep, rounded up as `round_to` says; 0 where nothing would be left."""
        if isinstance(self.round_to, ByClock):
            return self.round_to.width(model, task, group, max(group.width - removed, 1)) if removed else group.width
        step = self.round_to // math.gcd(self.round_to, self.channels_of(group))
        kept = group.width - removed
        return kept if step == 1 else math.ceil(max(kept, 1) / step) * step


def _shape(model: nn.Module, task: Task) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(task.predict(copy.deepcopy(model).eval(), task.example_inputs).shape)
