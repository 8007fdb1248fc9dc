"""How the rank of a layer is chosen. Each choice is a value: `Rank(24)`, `Ratio(0.5)`, `Energy(0.95)`, `EVBMF()`,
`ByClock(max_error=0.05)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from paring.clock.chain import num_params
from paring.core.edit import Declined
from paring.errors import SettingError, ShapeError
from paring.factorize.by_clock import ByClock
from paring.factorize.view import LowRankView, RankChoice, Ranks
from paring.numerics.evbmf import evbmf_rank
from paring.numerics.factor import energy_rank

__all__ = ["EVBMF", "ByClock", "Energy", "Rank", "RankChoice", "Ratio"]


@final
@dataclass(frozen=True)
class Rank(RankChoice):
    """The same rank for every layer, and for both modes of a convolution where the mode is that wide."""

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise SettingError(f"rank is {self.rank}; it must be at least 1.")

    def choose(self, view: LowRankView) -> Ranks:
        """See `RankChoice`."""
        if self.rank > max(view.limits):
            raise ShapeError(
                f"{view.layer}: rank {self.rank} is above the full rank {max(view.limits)} of its {view.shapes[0]} "
                "weight. Use a smaller rank, Ratio(0.5), or exclude the layer."
            )
        return tuple(min(self.rank, limit) for limit in view.limits)


@final
@dataclass(frozen=True)
class Ratio(RankChoice):
    """The largest rank at which the factors hold at most this share of the dense layer's numbers.

    The two modes of a convolution keep the same share of their channels. At least 1 each.
    """

    ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must lie in (0, 1): the share of the numbers to keep.")

    def choose(self, view: LowRankView) -> Ranks:
        """See `RankChoice`."""
        allowed = self.ratio * num_params(view.dense)
        low, high = 1, max(view.limits)
        while low < high:
            middle = (low + high + 1) // 2
            if num_params(view.option(_in_step(view, middle))) <= allowed:
                low = middle
            else:
                high = middle - 1
        return _in_step(view, low)


@final
@dataclass(frozen=True)
class Energy(RankChoice):
    """The smallest rank that keeps this share of the squared singular values, in each mode."""

    energy: float

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1].")

    def choose(self, view: LowRankView) -> Ranks:
        """See `RankChoice`."""
        return tuple(energy_rank(squares, self.energy) for squares in view.squares)


@final
@dataclass(frozen=True)
class EVBMF(RankChoice):
    """As many components as empirical variational Bayes tells from noise, in each mode.

    Reference: Nakajima et al. 2013, JMLR 14:1-37; for convolutions Kim et al. 2016, arXiv:1511.06530.
    """

    def choose(self, view: LowRankView) -> Ranks | Declined:
        """See `RankChoice`; declined where nothing stands above the noise."""
        found = tuple(evbmf_rank(squares, shape) for squares, shape in zip(view.squares, view.shapes, strict=True))
        if 0 in found:
            return Declined(view.layer, "EVBMF finds no component above the noise, so there is no rank to keep")
        return found


def _in_step(view: LowRankView, widest: int) -> Ranks:
    """The same share of every mode, the widest mode at `widest`."""
    most = max(view.limits)
    return tuple(max(1, limit * widest // most) for limit in view.limits)
