"""Axes: where a value stands, and which ticks a reader expects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

LOG_FROM = 6.0  # a range that spans this factor is drawn on a log axis
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """How far along the axis `value` stands, 0 to 1, held inside."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the axis: 1-2-5 over decades where it is logarithmic and wide, else evenly spaced."""
        if self.log and self.high / self.low > LOG_FROM:
            return _decades(self.low, self.high, wanted)
        return _even(self.low, self.high, wanted)


def axis(values: Iterable[float], *, pad: float = 0.08, log: bool | None = None) -> Axis:
    """An axis that shows all `values` with some air; logarithmic where they span a factor of six and are positive."""
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    if log is None:
        log = low > high * 1e-12 and high >= low * LOG_FROM
    if log:
        if low == high:
            low, high = low / 1.5, high * 1.5
        air = (high / low) ** pad
        return Axis(low / air, high * air, True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.1 * (abs(low) if abs(low) > 1e-12 else 1.0)
        low, high = low - half, high + half
    air = (high - low) * pad
    return Axis(low - air if low < 0 or low > air else 0.0, high + air)


def tick_texts(ticks: list[float]) -> list[str]:
    """As many decimals as the closest pair of ticks needs; on a log axis as many as each tick needs."""
    gaps = [right - left for left, right in pairwise(ticks)]
    if not gaps or max(gaps) > 1.5 * min(gaps):
        return [f"{tick:g}" for tick in ticks]
    decimals = next((count for count in range(9) if _fits(min(gaps), count)), 9)
    return [f"{tick:.{decimals}f}" for tick in ticks]


def _fits(gap: float, decimals: int) -> bool:
    return abs(round(gap, decimals) - gap) < gap * 1e-6


def _even(low: float, high: float, wanted: int) -> list[float]:
    rough = (high - low) / wanted
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * step for step in STEPS if size * step >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float, wanted: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        ticks = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= wanted + 2:
            break
    return ticks[:: max(1, math.ceil(len(ticks) / (wanted + 2)))]
