"""Structured pruning of feed-forward neurons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Declined, Step
from paring.core.task import Task
from paring.errors import NothingToDoError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.feed_forward import feed_forwards
from paring.graph.groups import ChannelGroup, Member
from paring.graph.sites import opaque_parent, sharers
from paring.prune.structure import Structured


@final
@dataclass(frozen=True)
class Neurons(Structured):
    """Removes the least important inner neurons of feed-forward pairs: a Linear, what acts on each value, a Linear.

    For encoders of every kind; found in the traced dataflow, so names do not matter. `include` and `exclude` name the
    first Linear. `nn.TransformerEncoder` is unfused first. `importance`, `scope`, `round_to`, `reconstruct` and the
    rest are those of `prune.channels`; the second Linear is refitted.
    Raises: SettingError; NothingToDoError if there is no such pair; TraceError.
    Reference: Kurtic et al. 2023 (ZipLM), arXiv:2302.04089.
    """

    name: ClassVar[str] = "prune.neurons"

    def groups(self, model: nn.Module, task: Task) -> Iterator[ChannelGroup | Step]:
        """See `Structured`."""
        yield from unfuse_all(model)
        tied, found = sharers(model), 0
        for first, second in feed_forwards(model, task.example_inputs):
            if not self.selects(first):
                continue
            found += 1
            shared = [layer for layer in (first, second) if layer in tied]
            parent = opaque_parent(model, first) or opaque_parent(model, second)
            if shared:
                yield Declined(first, f"the weight of {shared[0]} is shared with {tied[shared[0]][0]}")
            elif parent is not None:
                yield Declined(first, f"it stands inside {parent}, whose forward bypasses replaced layers")
            else:
                yield _group(model, first, second)
        if not found:
            raise NothingToDoError(
                f"{self.name}: no Linear is selected that only another Linear reads. Widen the patterns."
            )


def _group(model: nn.Module, first: str, second: str) -> ChannelGroup:
    inner = model.get_submodule(first)
    assert isinstance(inner, nn.Linear)
    places = tuple((unit,) for unit in range(inner.out_features))
    made = [
        Member(f"{first}.{leaf}", 0, inner.out_features, places, "produces")
        for leaf, tensor in inner._parameters.items()
        if tensor is not None
    ]
    read = Member(f"{second}.weight", 1, inner.out_features, places, "consumes")
    return ChannelGroup(first, inner.out_features, 1, (*made, read), (first,))
