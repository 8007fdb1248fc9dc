"""Which range stands for the activations that calibration saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from paring.errors import SettingError
from paring.numerics.histogram import Histogram, kl_range, mse_range, percentile_range
from paring.numerics.quant import Range


class Observer(ABC):
    """Chooses a range from what was seen. Those that look at the distribution cost a second pass over the data."""

    needs_histogram: ClassVar[bool] = True

    @abstractmethod
    def range_of(self, histogram: Histogram) -> Range:
        """The range to represent."""


@final
@dataclass(frozen=True)
class MinMax(Observer):
    """All that was seen."""

    needs_histogram: ClassVar[bool] = False

    def range_of(self, histogram: Histogram) -> Range:
        """The whole range."""
        return histogram.seen


@final
@dataclass(frozen=True)
class Percentile(Observer):
    """What holds `percentile` % of the values, the rest clipped evenly at both ends."""

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percentile <= 100:
            raise SettingError(f"percentile: it is {self.percentile}; it must lie above 50 and at most at 100.")

    def range_of(self, histogram: Histogram) -> Range:
        """See `percentile_range`."""
        return percentile_range(histogram, self.percentile)


@final
@dataclass(frozen=True)
class Mse(Observer):
    """Least squared error of rounding and clipping together (Choukroun et al. 2019, arXiv:1902.06822)."""

    def range_of(self, histogram: Histogram) -> Range:
        """See `mse_range`."""
        return mse_range(histogram)


@final
@dataclass(frozen=True)
class Kl(Observer):
    """Least KL divergence of the rounded distribution (Wu et al. 2020, arXiv:2004.09602)."""

    def range_of(self, histogram: Histogram) -> Range:
        """See `kl_range`."""
        return kl_range(histogram)
