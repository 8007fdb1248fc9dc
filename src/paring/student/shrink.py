"""A student without a class of its own: the model, narrower and shallower, its weights carried over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Declined, Edit, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import NothingToDoError, SettingError
from paring.graph.attention import Attention, attentions
from paring.graph.droppable import Droppable, droppable
from paring.graph.edits.drop import DropLayer
from paring.graph.edits.factorize import LowRankLinear
from paring.graph.edits.heads import PruneHeads
from paring.graph.edits.slice import SliceChannels
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.groups import ChannelGroup, channel_groups, producers_of
from paring.graph.sites import sharers
from paring.graph.unit_scores import protected, unit_scores
from paring.graph.weight_only import ScaledLinear
from paring.numerics.importance import lowest

Alive = dict[tuple[str, int], tuple[int, ...]]


@final
@dataclass(frozen=True)
class Shrink(Pass):
    """Keeps the fraction `depth` of the blocks in a row, evenly spaced, and of every width the fraction `width`.

    Width means channels, inner neurons of feed-forward pairs and attention heads, coupled ones together; of the
    hidden stream too where it can be cut. The units of the largest norm stay, with their weights, so that the student
    starts from what the teacher knows; put `finetune` with an objective of `distill` behind. The width kept is rounded
    up to a multiple of `round_to` (heads count alone), and never the whole is given away. `include` and `exclude` name
    layers and blocks. `nn.TransformerEncoder` is unfused first.
    Raises: SettingError; NothingToDoError where there is nothing to cut or to drop.
    Reference: Sanh et al. 2019 (DistilBERT), arXiv:1910.01108.
    """

    name: ClassVar[str] = "student.shrink"
    needs: ClassVar[frozenset[str]] = frozenset()
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights are not cut. Shrink first, then quantize."
    }

    width: float = 0.5  # fraction kept
    depth: float = 1.0  # fraction kept
    round_to: int = 1

    def __post_init__(self) -> None:
        for setting in ("width", "depth"):
            if not 0 < getattr(self, setting) <= 1:
                raise SettingError(f"{self.name}: {setting} is {getattr(self, setting)}; the fraction kept, in (0, 1].")
        if self.width == self.depth == 1:
            raise SettingError(f"{self.name}: width and depth are both 1. Set one of them below.")
        if self.round_to < 1:
            raise SettingError(f"{self.name}: round_to is {self.round_to}; it must be a whole number of at least 1.")

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        yield from unfuse_all(model)
        outcomes = 0
        for step in (*(self._shallower(model, task) if self.depth < 1 else ()),):
            outcomes += isinstance(step, Edit)
            yield step
        if self.width < 1:
            for step in self._narrower(model, task):
                outcomes += isinstance(step, Edit)
                yield step
        split = [name for name, layer in model.named_modules() if isinstance(layer, LowRankLinear | ScaledLinear)]
        if not outcomes and split:
            yield Declined(split[0], "an earlier step split it, and its width is tied up there: shrink first")
        elif not outcomes:
            raise NothingToDoError(
                f"{self.name}: width={self.width:g}, depth={self.depth:g} leave everything as it is: no selected block "
                "keeps the shape of its input, and no selected width can be cut. Widen the patterns."
            )

    def _shallower(self, model: nn.Module, task: Task) -> Iterator[Step]:
        blocks = [block for block in droppable(model, task, task.example_inputs) if self.selects(block.name)]
        kept = evenly_spaced(len(blocks), self.depth)
        if len(kept) == len(blocks):
            where = blocks[0].name if blocks else "the model itself"
            yield Declined(where, f"{self.depth:g} of {len(blocks)} blocks keeps all of them")
        yield from (_drop(block) for place, block in enumerate(blocks) if place not in kept)

    def _narrower(self, model: nn.Module, task: Task) -> Iterator[Step]:
        heads = {one.name: one for one in attentions(model) if self.selects(one.name)}
        inside = {layer for one in attentions(model) for layer in one.inputs}
        tied = sharers(model)
        groups: list[ChannelGroup] = []
        for one in heads.values():
            if any(layer in tied for layer in (*one.inputs, one.output)) or one.num_heads < 2:
                yield Declined(one.name, "its heads cannot be cut: shared weights, or a single head")
            else:
                groups.append(one.group(model))
        for group in channel_groups(model, task.example_inputs, task.predict):
            if inside & set(group.layers) or not self._wants(model, group):
                continue
            if group.blocked is not None:
                yield Declined(group.name, group.blocked)
            else:
                groups.append(group)
        yield from self._cut(model, task, groups, heads)

    def _wants(self, model: nn.Module, group: ChannelGroup) -> bool:
        return all(self.selects(layer) for layer in producers_of(model, group))

    def _cut(
        self, model: nn.Module, task: Task, groups: Sequence[ChannelGroup], heads: dict[str, Attention]
    ) -> Iterator[Step]:
        alive: Alive = {}
        scores = unit_scores(model, groups, "l2", task, self.name).units
        for group, score in zip(groups, scores, strict=True):
            kept = self._kept(group, heads)
            if isinstance(score, str) or kept >= group.width:
                yield Declined(group.name, score if isinstance(score, str) else "rounded, it keeps its whole width")
                continue
            units = lowest(protected(group, score), group.width - kept).nonzero().flatten().tolist()
            slices = group.without(units, alive)
            if group.name in heads:
                one, stay = heads[group.name], tuple(u for u in range(group.width) if u not in set(units))
                yield PruneHeads(group.name, stay, slices, one.sizes(model.get_submodule(group.name), kept))
            else:
                yield SliceChannels(group.name, slices)

    def _kept(self, group: ChannelGroup, heads: dict[str, Attention]) -> int:
        """Units to keep, at least one, the channels they hold rounded up to a multiple of `round_to`."""
        kept = max(1, round(self.width * group.width))
        if group.name in heads:
            return kept
        step = self.round_to // math.gcd(self.round_to, group.channels_per_unit)
        return math.ceil(kept / step) * step


def evenly_spaced(count: int, fraction: float) -> set[int]:
    """Places of `count` to keep, the first always: 6 at a half -> {0, 2, 4}, as DistilBERT takes one layer of two."""
    kept = min(count, max(1, round(fraction * count)))
    return {place * count // kept for place in range(kept)} if count else set()


def _drop(block: Droppable) -> DropLayer:
    return DropLayer(block.name, block.in_tuple)
