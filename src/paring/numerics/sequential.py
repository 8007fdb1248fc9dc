"""Intervals that hold at every look: watched as long as one likes, they cover the truth throughout with 1 - alpha."""

from __future__ import annotations

import math

import numpy as np

from paring.errors import SettingError

Interval = tuple[float, float]
GRID = 201  # means that are tried
BETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)  # shares of the largest bet that cannot ruin


class MeanSequence:
    """A confidence sequence for the mean of numbers within [low, high], by betting against every mean at once.

    Against a candidate mean m (scaled to 0..1) a gambler with capital 1 stakes a share on each number coming out above
    it, another on below; under the true mean neither is expected to gain, so that by Ville's inequality the capital of
    both together reaches 2 / alpha with probability at most alpha, ever. Means whose gamblers got there are out.

    Reference: Waudby-Smith and Ramdas 2024, JRSS B 86:1-27, the hedged capital process with a fixed mixture of bets.
    Example: 500 agreements in 500 -> about (0.985, 1) at alpha 0.05, whenever one looks.
    """

    def __init__(self, low: float, high: float, alpha: float = 0.05) -> None:
        if not low < high or not 0 < alpha < 1:
            raise SettingError(f"sequence: low {low}, high {high}, alpha {alpha} are no range and level.")
        self.low, self.high, self.alpha = low, high, alpha
        self.count = 0
        self.total = 0.0
        grid = np.linspace(0.0, 1.0, GRID)[:, None]
        with np.errstate(divide="ignore"):
            self._up = np.array(BETS)[None, :] * np.minimum(1 / grid, 1e6)
            self._down = np.array(BETS)[None, :] * np.minimum(1 / (1 - grid), 1e6)
        self._grid = grid
        self._log_up = np.zeros((GRID, len(BETS)))
        self._log_down = np.zeros((GRID, len(BETS)))
        self._alive = np.ones(GRID, bool)

    def add(self, value: float, times: int = 1) -> None:
        """Takes one number in, or the same one several times. Raises SettingError outside the range."""
        if not self.low <= value <= self.high:
            raise SettingError(f"sequence: {value} lies outside {self.low} to {self.high}.")
        gain = (value - self.low) / (self.high - self.low) - self._grid
        self.count += times
        self.total += value * times
        self._log_up += times * np.log1p(np.maximum(self._up * gain, -1 + 1e-12))
        self._log_down += times * np.log1p(np.maximum(-self._down * gain, -1 + 1e-12))
        limit = math.log(2 / self.alpha)
        for logs in (self._log_up, self._log_down):
            peak = logs.max(1)
            capital = peak + np.log(np.exp(logs - peak[:, None]).mean(1))
            self._alive &= capital < limit  # once out, out: the intersection over time covers too

    @property
    def mean(self) -> float:
        """Of what came so far; NaN of nothing."""
        return self.total / self.count if self.count else math.nan

    @property
    def interval(self) -> Interval:
        """(low, high), rounded outwards to the grid; the mean alone if nothing is left."""
        left = np.flatnonzero(self._alive)
        if not len(left):
            return self.mean, self.mean
        step = (self.high - self.low) / (GRID - 1)
        low, high = self.low + (left[0] - 1) * step, self.low + (left[-1] + 1) * step
        return max(float(low), self.low), min(float(high), self.high)


class RatioSequence:
    """An asymptotic confidence sequence for the geometric mean of ratios above 0.

    Reference: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, The Annals of Statistics 52, 2024, arXiv:2103.06476,
    theorem 2.2; narrowest around `tuned_for` ratios. Before 10 ratios the interval is everything.
    """

    def __init__(self, alpha: float = 0.05, tuned_for: int = 100) -> None:
        self.alpha = alpha
        self._rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / tuned_for
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, ratio: float) -> None:
        """Takes one ratio in. Raises SettingError unless it is above 0."""
        if not ratio > 0:
            raise SettingError(f"sequence: ratio {ratio}; it must be above 0.")
        self.count += 1
        before, value = self._mean, math.log(ratio)
        self._mean += (value - before) / self.count
        self._squares += (value - before) * (value - self._mean)

    @property
    def ratio(self) -> float:
        """Geometric mean so far; NaN of nothing."""
        return math.exp(self._mean) if self.count else math.nan

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        n, rho2 = self.count, self._rho2
        if n < 10:
            return 0.0, math.inf
        spread = math.sqrt(self._squares / n)
        width = math.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / self.alpha))
        return math.exp(self._mean - spread * width), math.exp(self._mean + spread * width)
