"""How values are spread, and the range that represents them best in 256 integers. Tensors in, ranges out."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from paring.errors import LayerError
from paring.numerics.quant import Range, observe

NUM_BINS = 2048
LEVELS = 256
SHRINKS = tuple(step / 64 for step in range(64, 7, -1))  # shares of the full range that are tried, from all of it


@final
class Histogram:
    """Counts of values in NUM_BINS equal bins over a range seen before; float64, so that merging is exact.

    Example: `histogram = Histogram(Range(-1, 3)); histogram.add_(x)`.
    """

    def __init__(self, seen: Range) -> None:
        self.seen = seen
        self.counts = torch.zeros(NUM_BINS, dtype=torch.float64)

    def add_(self, x: Tensor) -> None:
        """Takes in more values, any shape; what lies outside the range counts in the outermost bins.

        Raises: LayerError for NaN or infinity.
        """
        if observe(x).is_empty or self.seen.is_empty:
            return
        width = (self.seen.high - self.seen.low) / NUM_BINS or 1.0
        bins = ((x.detach().flatten().double() - self.seen.low) / width).long().clamp(0, NUM_BINS - 1)
        self.counts += torch.bincount(bins, minlength=NUM_BINS)

    @property
    def centers(self) -> Tensor:
        """The middle of every bin, (NUM_BINS,)."""
        width = (self.seen.high - self.seen.low) / NUM_BINS
        return self.seen.low + width * (torch.arange(NUM_BINS, dtype=torch.float64) + 0.5)

    @property
    def is_flat(self) -> bool:
        """Whether there is nothing to choose: no value, or one alone."""
        return self.seen.is_empty or self.seen.low == self.seen.high or not bool(self.counts.any())


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The range that holds `percentile` % of the values, the rest cut off evenly at both ends.

    Example: 99.9 on values of a normal distribution -> about Range(-3.3, 3.3).
    """
    if histogram.is_flat:
        return histogram.seen
    share = histogram.counts.cumsum(0) / histogram.counts.sum()
    tail = (100 - percentile) / 200
    low = int(torch.searchsorted(share, tail, right=True))
    high = min(int(torch.searchsorted(share, 1 - tail - 1e-12)), NUM_BINS - 1)
    width = (histogram.seen.high - histogram.seen.low) / NUM_BINS
    return Range(histogram.seen.low + low * width, histogram.seen.low + (high + 1) * width)


def mse_range(histogram: Histogram) -> Range:
    """The range with the smallest mean squared error of rounding to 256 levels and clipping, each end searched.

    Both ends shrink together first, then each alone while the other stands.
    Reference: Choukroun et al. 2019, arXiv:1902.06822.
    """
    return _searched(histogram, _squared_error)


def kl_range(histogram: Histogram) -> Range:
    """The range whose 256 levels keep the distribution best: smallest KL divergence from the values seen.

    Reference: Migacz 2017, "8-bit inference with TensorRT"; in print: Wu et al. 2020, arXiv:2004.09602, section 3.2.
    """
    return _searched(histogram, _divergence)


def _searched(histogram: Histogram, loss: object) -> Range:
    assert callable(loss)
    if histogram.is_flat:
        return histogram.seen
    low, high = min(histogram.seen.low, 0.0), max(histogram.seen.high, 0.0)
    shares = [(share, share) for share in SHRINKS]
    best = min(shares, key=lambda pair: float(loss(histogram, low * pair[0], high * pair[1])))
    for end in (0, 1):
        if (low, high)[end] != 0:
            pairs = [(share, best[1]) if end == 0 else (best[0], share) for share in SHRINKS]
            best = min(pairs, key=lambda pair: float(loss(histogram, low * pair[0], high * pair[1])))
    return Range(low * best[0], high * best[1])


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    x = histogram.centers
    step = (high - low) / (LEVELS - 1)
    clipped = x.clamp(low, high)
    rounding = torch.where(clipped == x, step**2 / 12, 0.0)
    # A rectifier's zeros are exact in every grid: they must not ask for a finer one.
    at_zero = (x.abs() <= (histogram.seen.high - histogram.seen.low) / NUM_BINS / 2 + 1e-300) & (clipped == x)
    return float((histogram.counts * torch.where(at_zero, 0.0, rounding + (x - clipped) ** 2)).sum())


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    x, counts = histogram.centers, histogram.counts
    reference = _pushed_in(x, counts, low, high)
    inside = (x >= low) & (x <= high)
    step = (high - low) / (LEVELS - 1)
    level = ((x - low) / step).round().long().clamp(0, LEVELS - 1)
    kept = torch.where(inside, counts, 0.0)
    mass = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, level, kept)
    filled = torch.zeros(LEVELS, dtype=torch.float64).index_add_(0, level, (kept > 0).double())
    spread = torch.where(kept > 0, (mass / filled.clamp_min(1))[level], 0.0)
    p, q = reference / reference.sum(), spread / spread.sum().clamp_min(1e-300)
    both = p > 0
    return float((p[both] * (p[both] / q[both].clamp_min(1e-12)).log()).sum())


def _pushed_in(x: Tensor, counts: Tensor, low: float, high: float) -> Tensor:
    """Counts with what lies outside moved to the outermost bins inside."""
    inside = (x >= low) & (x <= high)
    if not bool(inside.any()):
        raise LayerError("no value lies inside the range")
    places = inside.nonzero().flatten()
    pushed = torch.where(inside, counts, 0.0)
    pushed[places[0]] += counts[x < low].sum()
    pushed[places[-1]] += counts[x > high].sum()
    return pushed
