"""Training with integers in view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Step
from paring.core.task import Task
from paring.errors import SettingError, UnknownNameError
from paring.quantize.integers import WeightRange, largest_integer
from paring.quantize.observers import MinMax, Observer
from paring.quantize.training import TrainingPass


@final
@dataclass(frozen=True, kw_only=True)
class Qat(TrainingPass):
    """Training under rounding with learned steps (LSQ, Esser et al. 2020, arXiv:1902.08153), then stored integers.

    Weights in 2 to 8 bits, one step a channel; inputs in 8, affine, starting from the calibrated range. Batch norms
    are folded first. Any objective: `objective: distill.response` makes it distilled. What comes out is what
    `quantize.static` makes, and runs in the same kernels.
    """

    name: ClassVar[str] = "quantize.qat"
    needs: ClassVar[frozenset[str]] = frozenset({"train", "calibration"})

    num_bits: int = 8
    weight_range: WeightRange = "auto"
    observer: Observer = field(default_factory=MinMax)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.num_bits, bool) or not isinstance(self.num_bits, int) or not 2 <= self.num_bits <= 8:
            raise SettingError(f"{self.name}: num_bits is {self.num_bits}; it must be a whole number from 2 to 8.")
        if self.weight_range not in ("auto", "full", "half"):
            raise UnknownNameError("weight_range", self.weight_range, ("auto", "full", "half"), self.name)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `TrainingPass.trained`."""
        quant_max = largest_integer(self.num_bits, self.weight_range)
        yield from self.trained(
            model, task, scheme="steps", num_bits=self.num_bits, quant_max=quant_max, observer=self.observer
        )
