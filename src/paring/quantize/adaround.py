"""Weights of few bits, rounded up or down as learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from paring.quantize.rounding import Learned, Rounding
from paring.quantize.weights import WeightPass


@final
@dataclass(frozen=True, kw_only=True)
class Adaround(WeightPass):
    """Learned rounding: up or down, by the layer's output error (Nagel et al. 2020, arXiv:2004.10568).

    The error is computed from the second moment of the layer's inputs, taken behind the layers already rounded, so no
    data is drawn and a run repeats to the digit. `sweeps` of coordinate descent follow, which may move a weight
    further than to its neighbour. Grouped convolutions are rounded to nearest.
    """

    name: ClassVar[str] = "quantize.adaround"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})

    steps: int = 500
    regularization: float = 0.01
    sweeps: int = 4

    def rounding(self) -> Rounding:
        """Learned."""
        return Learned(self.steps, self.regularization, self.sweeps)
