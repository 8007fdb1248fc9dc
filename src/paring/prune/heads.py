"""Structured pruning of attention heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Declined, Edit, Step
from paring.core.task import Task
from paring.errors import NothingToDoError
from paring.graph.attention import attentions
from paring.graph.edits.factorize import LowRankLinear
from paring.graph.edits.heads import PruneHeads
from paring.graph.edits.slice import Slice
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.groups import ChannelGroup
from paring.graph.sites import sharers
from paring.graph.weight_only import ScaledLinear
from paring.prune.structure import Structured


@final
@dataclass(frozen=True)
class Heads(Structured):
    """Removes the least important heads of every attention, with their rows and columns of the four projections.

    For Hugging Face BERT, RoBERTa, DistilBERT and ViT encoders and for `nn.TransformerEncoder`, which is unfused into
    plain Linears first. `include` and `exclude` name attention modules. `importance`, `scope`, `reconstruct` and the
    rest are those of `prune.channels`; the output projection is refitted. `round_to` counts heads.
    Raises: SettingError; NothingToDoError if there is no such attention.
    Reference: Michel, Levy & Neubig 2019, arXiv:1905.10650.
    """

    name: ClassVar[str] = "prune.heads"

    def groups(self, model: nn.Module, task: Task) -> Iterator[ChannelGroup | Step]:
        """See `Structured`."""
        yield from unfuse_all(model)
        tied = sharers(model)
        found = 0
        for one in attentions(model):
            if not self.selects(one.name):
                continue
            found += 1
            shared = [layer for layer in (*one.inputs, one.output) if layer in tied]
            if shared:
                yield Declined(one.name, f"the weight of {shared[0]} is shared with {tied[shared[0]][0]}")
            elif one.num_heads < 2:
                yield Declined(one.name, "it has a single head to keep")
            else:
                yield one.group(model)
        split = [name for name, layer in model.named_modules() if isinstance(layer, LowRankLinear | ScaledLinear)]
        if not found and split:
            yield Declined(split[0], "an earlier step split it, and heads are cut from whole projections: do so first")
        elif not found:
            raise NothingToDoError(
                f"{self.name}: no attention with query, key, value and output Linears is selected. Widen the patterns."
            )

    def edit(self, model: nn.Module, group: ChannelGroup, kept: Sequence[int], slices: tuple[Slice, ...]) -> Edit:
        """See `Structured`."""
        one = next(one for one in attentions(model) if one.name == group.name)
        return PruneHeads(group.name, tuple(kept), slices, one.sizes(model.get_submodule(group.name), len(kept)))

    def channels_of(self, group: ChannelGroup) -> int:
        """Heads, not their channels, are what `round_to` counts."""
        return 1
