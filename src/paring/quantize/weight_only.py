"""Weights of few bits, rounded to nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from paring.quantize.rounding import Nearest, Rounding
from paring.quantize.weights import WeightPass


@final
@dataclass(frozen=True, kw_only=True)
class WeightOnly(WeightPass):
    """Weights in 8, 4, 3 or 2 bits, each rounded to nearest (Jacob et al. 2018, arXiv:1712.05877); floats flow through.

    One scale a channel or a group of inputs; symmetric, or affine with a zero point. With `clip` the scale is the one
    of least squared error rather than the one that clips nothing (below 8 bits). The file holds standard block-wise
    DequantizeLinear nodes; 3 and 2 bits are stored in 4, the smallest that both engines read.
    """

    name: ClassVar[str] = "quantize.weight_only"
    needs: ClassVar[frozenset[str]] = frozenset()

    def rounding(self) -> Rounding:
        """To nearest."""
        return Nearest()
