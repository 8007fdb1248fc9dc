"""Weights of minus one, zero and one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Step
from paring.core.task import Task
from paring.quantize.training import TrainingPass


@final
@dataclass(frozen=True, kw_only=True)
class Ternary(TrainingPass):
    """Weights -1, 0 or 1 times a scale a channel, trained straight through (Li et al. 2016, arXiv:1605.04711).

    Real weights stay behind and learn; what lies below 0.7 of the channel's mean magnitude counts as zero. Stored in
    the smallest integers that engines read (4 bits), inputs in floats. The first and the last layer are the ones to
    exclude where accuracy falls.
    """

    name: ClassVar[str] = "quantize.ternary"

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `TrainingPass.trained`."""
        yield from self.trained(model, task, scheme="ternary", num_bits=2, quant_max=1, observer=None)
