"""Weights of minus one and one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Step
from paring.core.task import Task
from paring.graph.fake import Scheme
from paring.quantize.training import TrainingPass


@final
@dataclass(frozen=True, kw_only=True)
class Binary(TrainingPass):
    """Weights -1 or 1 times a scale a channel, trained straight through (Rastegari et al. 2016, arXiv:1603.05279).

    Real weights stay behind and learn; the scale is their mean magnitude. With `stochastic` the sign is drawn while
    training, with the probability that the real weight gives (BinaryConnect, arXiv:1511.00363); the sign itself is
    stored, in the smallest integers that engines read (4 bits). Inputs stay floats, a pruned weight zero.
    """

    name: ClassVar[str] = "quantize.binary"

    stochastic: bool = False

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `TrainingPass.trained`."""
        scheme: Scheme = "stochastic" if self.stochastic else "binary"
        yield from self.trained(model, task, scheme=scheme, num_bits=2, quant_max=1, observer=None)
