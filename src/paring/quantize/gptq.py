"""Weights of few bits, rounded so that the layer's outputs change least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from paring.quantize.rounding import Obs, Rounding
from paring.quantize.weights import WeightPass


@final
@dataclass(frozen=True, kw_only=True)
class Gptq(WeightPass):
    """Hessian-aware rounding: later columns mend each column's error (Frantar et al. 2023, arXiv:2210.17323).

    The second moment of every layer's inputs is taken behind the layers already rounded. `damping` is the share of
    its mean diagonal added to it; `ordered` rounds the columns with the largest inputs first; `sweeps` of coordinate
    descent follow (Nair, Suggala 2024, CDQuant, arXiv:2406.17542), without which 2 bits a channel may end up behind
    rounding to nearest. Grouped convolutions are rounded to nearest.
    """

    name: ClassVar[str] = "quantize.gptq"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})

    damping: float = 0.01
    ordered: bool = True
    sweeps: int = 4

    def rounding(self) -> Rounding:
        """Column by column."""
        return Obs(self.damping, self.ordered, self.sweeps)
