"""How the rank of a layer is chosen. Each choice is a value: `Rank(24)`, `Ratio(0.5)`, `Energy(0.95)`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor

from paring.errors import SettingError, ShapeError
from paring.numerics.factor import break_even_rank, energy_rank, full_rank


class RankChoice(ABC):
    """Gives the rank for one weight matrix."""

    @abstractmethod
    def rank_of(self, W_OI: Tensor, layer: str) -> int:
        """The rank for this (out, in) weight, at least 1. Raises ShapeError where the choice does not fit it."""


@final
@dataclass(frozen=True)
class Rank(RankChoice):
    """The same rank for every layer."""

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise SettingError(f"rank is {self.rank}; it must be at least 1.")

    def rank_of(self, W_OI: Tensor, layer: str) -> int:
        """See `RankChoice`."""
        limit = full_rank(*W_OI.shape)
        if self.rank > limit:
            raise ShapeError(
                f"{layer}: rank {self.rank} is above the full rank {limit} of its {tuple(W_OI.shape)} weight. "
                "Use a smaller rank, Ratio(0.5), or exclude the layer."
            )
        return self.rank


@final
@dataclass(frozen=True)
class Ratio(RankChoice):
    """The rank at which the two factors hold this share of the dense layer's numbers."""

    ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must lie in (0, 1): the share of the numbers to keep.")

    def rank_of(self, W_OI: Tensor, layer: str) -> int:
        """See `RankChoice`."""
        return max(1, int(self.ratio * (break_even_rank(*W_OI.shape) + 1)))


@final
@dataclass(frozen=True)
class Energy(RankChoice):
    """The smallest rank that keeps this share of the squared singular values."""

    energy: float

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1].")

    def rank_of(self, W_OI: Tensor, layer: str) -> int:
        """See `RankChoice`."""
        return energy_rank(W_OI, self.energy)
