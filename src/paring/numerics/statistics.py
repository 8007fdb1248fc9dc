"""Intervals for speed ratios and quality drops. Numbers in, numbers out; every draw is seeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm, t

from paring.errors import SettingError, ShapeError

Interval = tuple[float, float]
Floats = NDArray[np.float64]

NUM_RESAMPLES = 10_000
CHUNK = 1_000  # resamples drawn at a time: bounds memory, and a larger one is no faster


def paired_ratio(
    base_blocks: ArrayLike,
    candidate_blocks: ArrayLike,
    *,
    confidence: float = 0.99,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    num_groups: int = 1,
) -> tuple[float, float, float]:
    """(ratio, low, high): median of base time / candidate time per block, above 1 when the candidate is faster.

    A block is one stretch of time in which both ran, so what slows the machine slows both; blocks are resampled whole.

    Args:
        base_blocks, candidate_blocks: time per call in each block, (blocks,), the same block at the same place.
        num_groups: blocks come in so many groups of equal length, one after the other, whose members are not
            independent (one opening of the files each): groups are resampled first, then blocks within them.
    Raises: ShapeError for lengths that differ, no block, or blocks that do not divide into the groups; SettingError
        for a time that is not above 0.
    Reference: percentile bootstrap, Efron & Tibshirani 1993, chapter 13; two stages: Davison & Hinkley 1997, 3.8.
    """
    base, candidate = _pair(base_blocks, candidate_blocks)
    if not (np.all(base > 0) and np.all(candidate > 0)):
        raise SettingError("paired_ratio: a block took no time; every block must last longer than the clock's tick.")
    ratios = base / candidate
    if num_groups < 1 or len(ratios) % num_groups:
        raise ShapeError(f"paired_ratio: {len(ratios)} blocks do not divide into {num_groups} groups.")
    if num_groups == 1:
        medians = _resampled(len(ratios), num_resamples, seed, lambda rows: np.median(ratios[rows], axis=1))
    else:
        medians = _medians_by_group(ratios.reshape(num_groups, -1), num_resamples, seed)
    low, high = np.quantile(medians, _tails(confidence))
    return float(np.median(ratios)), float(low), float(high)


def paired_drop_interval(before: ArrayLike, after: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Interval for mean(before) - mean(after) over the same examples.

    Scores that are all 0 or 1 get Tango's score interval, which keeps its width when few examples disagree; others
    get the t interval of the paired differences.

    Args:
        before, after: a score per example, (n,). For a score where lower is better, swap the two.
    Raises: ShapeError for lengths that differ or fewer than 2 examples.
    Example: 872 examples, 15 lost and 11 won -> (-0.0074, 0.0171) around 0.0046.
    """
    first, second = _pair(before, after)
    if len(first) < 2:
        raise ShapeError("paired_drop_interval: one example says nothing about others; give at least 2.")
    if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
        lost, won = int(np.sum(first > second)), int(np.sum(second > first))
        return tango_interval(lost, won, len(first), confidence=confidence)
    differences = first - second
    half = t.ppf(_tails(confidence)[1], len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return float(differences.mean() - half), float(differences.mean() + half)


def tango_interval(lost: int, won: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Score interval for (lost - won) / n, the difference of two paired proportions.

    Args:
        lost, won: discordant examples: right only before, right only after. n: all examples.
    Raises: SettingError unless 0 <= lost, won and lost + won <= n and n >= 1.
    Reference: Tango 1998, Statistics in Medicine 17:891-908; recommended by Fagerland et al. 2014,
        Statistics in Medicine 33:2850-2875.
    Example: lost=1, won=7, n=21 -> (-0.517, -0.026).
    """
    if n < 1 or min(lost, won) < 0 or lost + won > n:
        raise SettingError(f"tango_interval: lost={lost}, won={won}, n={n} are no counts of n paired examples.")
    z = float(norm.ppf(_tails(confidence)[1]))

    def score(delta: float) -> float:
        """Tango's equation 7: standardized distance from `delta`, falling in it."""
        b = -lost - won + (2 * n - lost + won) * delta
        root = np.sqrt(max(b * b + 8 * n * won * delta * (1 - delta), 0.0))
        q = (root - b) / (4 * n)  # probability of `won`, most likely under `delta`
        variance = max(n * (2 * q + delta * (1 - delta)), 1e-300)
        return float((lost - won - n * delta) / np.sqrt(variance))

    edge = 1 - 1e-12
    low = -1.0 if won == n else brentq(lambda delta: score(delta) - z, -edge, edge, xtol=1e-12)
    high = 1.0 if lost == n else brentq(lambda delta: score(delta) + z, -edge, edge, xtol=1e-12)
    return float(low), float(high)


def bootstrap_drop_interval(
    metric: Callable[[Any, Any], float],
    outputs_before: Any,
    outputs_after: Any,
    targets: Any,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval for the drop of a figure that is no mean of per-example scores (AUC, F1), examples resampled in pairs.

    Args:
        metric: `metric(outputs, targets)`; a resample for which it is not finite is left out.
        outputs_before, outputs_after, targets: arrays or tensors, (n, ...), indexed with arrays of rows.
    Raises: ShapeError for lengths that differ or no example, or if no resample gives a finite figure.
    """
    n = len(targets)
    if n == 0 or not n == len(outputs_before) == len(outputs_after):
        raise ShapeError(
            f"bootstrap_drop_interval: {len(outputs_before)} outputs before, {len(outputs_after)} after, {n} targets; "
            "they must agree and be above 0."
        )
    sign = 1.0 if higher_is_better else -1.0
    rng = np.random.default_rng(seed)
    drops = np.empty(num_resamples)
    for index in range(num_resamples):
        rows = rng.integers(0, n, n)
        drops[index] = sign * (metric(outputs_before[rows], targets[rows]) - metric(outputs_after[rows], targets[rows]))
    drops = drops[np.isfinite(drops)]
    if not len(drops):
        raise ShapeError(f"bootstrap_drop_interval: the metric is finite on no resample of the {n} examples.")
    low, high = np.quantile(drops, _tails(confidence))
    return float(low), float(high)


def _medians_by_group(ratios_GB: Floats, times: int, seed: int) -> Floats:
    """Medians of two-stage resamples of (groups, blocks in each), (times,)."""
    groups, blocks = ratios_GB.shape
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, times - start) for start in range(0, times, CHUNK)]
    medians = []
    for size in sizes:
        group = rng.integers(0, groups, (size, groups, 1))
        block = rng.integers(0, blocks, (size, groups, blocks))
        medians.append(np.median(ratios_GB[group, block].reshape(size, -1), axis=1))
    return np.concatenate(medians)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != two.shape or not len(one):
        raise ShapeError(f"paired values have shapes {one.shape} and {two.shape}; both must be (n,), n above 0.")
    return one, two


def _tails(confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise SettingError(f"confidence is {confidence}; it must lie between 0 and 1.")
    return (1 - confidence) / 2, (1 + confidence) / 2


def _resampled(n: int, times: int, seed: int, statistic: Callable[[NDArray[np.int64]], Floats]) -> Floats:
    """`statistic` of `times` resamples of n rows, (times,); it gets rows (chunk, n) and gives (chunk,)."""
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, times - start) for start in range(0, times, CHUNK)]
    return np.concatenate([statistic(rng.integers(0, n, (size, n))) for size in sizes])
