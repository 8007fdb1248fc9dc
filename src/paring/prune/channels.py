"""Structured pruning: whole output channels really removed, coupled ones together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Step, accepted
from paring.core.task import Task
from paring.graph.groups import ChannelGroup, channel_groups, producers_of
from paring.graph.targets import targets
from paring.prune.structure import Structured

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@final
@dataclass(frozen=True)
class Channels(Structured):
    """Removes the least important output channels of Linear and convolution layers, with all that is coupled to them.

    A group is cut when `include` selects any layer that produces its channels and `exclude` names none of them. Masks
    are cut along with weights, and a masked layer is not refitted. `importance`: "l1", "l2", "batch_norm",
    "geometric_median", "taylor", "activation", "apoz", "redundancy" or "obs"; `scope` "layer" takes `pruning_ratio` of
    each group, "global" of all groups together. With `threshold` only units beyond it go, at most `pruning_ratio` of
    a group: below it for norms, scales and activation, above it for the share of zeros and for the correlation. The
    width kept is rounded up to a multiple of `round_to`, or by `by_clock` to the widest that the target is measured to
    run as fast. `reconstruct` refits what reads the channels by least squares
    on the calibration data; `reestimate` measures the batch norms anew where it cannot.
    Raises: SettingError; LayerError for a ratio that would empty a layer, or a layer named outright that cannot be cut.
    Reference: Li et al. 2017, arXiv:1608.08710; Fang et al. 2023 (DepGraph), arXiv:2301.12900.
    """

    name: ClassVar[str] = "prune.channels"

    def groups(self, model: nn.Module, task: Task) -> Iterator[ChannelGroup | Step]:
        """See `Structured`. Raises TraceError if the model cannot be traced."""
        chosen = {name for name, _ in (yield from accepted(targets(self, model, KINDS)))}
        groups = channel_groups(model, task.example_inputs, task.predict, only=chosen)
        seen = {layer for group in groups for layer in group.layers}
        yield from (self.refuse((layer,), "its output does not reach the model's") for layer in sorted(chosen - seen))
        for group in groups:
            wanted = tuple(layer for layer in group.layers if layer in chosen)
            if wanted and (reason := self._reason(model, group)) is not None:
                yield from (self.refuse((layer,), reason) for layer in wanted)
            elif wanted:
                yield group

    def _reason(self, model: nn.Module, group: ChannelGroup) -> str | None:
        if group.blocked is not None:
            return group.blocked
        for name in producers_of(model, group):
            if any(fnmatchcase(name, pattern) for pattern in self.exclude):
                return f"its channels are coupled with those of {name}, which is excluded"
        return None
