"""Figures over examples drawn again with replacement, as many statistics at once as are wanted.

Shapes: R draws, N examples, S statistics, C columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from paring.errors import SettingError, ShapeError

Floats = NDArray[np.float64]
NUM_DRAWS = 2_000
CELLS = 8_000_000  # counts held at a time


def resampled(statistic: Callable[[Floats], Floats], n: int, *, times: int = NUM_DRAWS, seed: int = 0) -> Floats:
    """Draws (times, S) of `statistic`, which gets how often each example came, (R, N), and answers (R, S).

    The draws depend on n, times and seed alone: statistics of the same examples may be subtracted draw by draw.
    Raises: SettingError for no example or no draw. Reference: Efron & Tibshirani 1993, chapter 13.
    """
    if n < 1 or times < 1:
        raise SettingError(f"resampled: {n} examples, {times} draws; it takes at least one of each.")
    rng = np.random.default_rng(seed)
    step, found = max(1, min(times, CELLS // n)), []
    for start in range(0, times, step):
        size = min(step, times - start)
        counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(size)]).astype(np.float64)
        found.append(statistic(counts))
    return np.concatenate(found)


def mean_draws(terms_NC: Floats, *, times: int = NUM_DRAWS, seed: int = 0) -> Floats:
    """Draws (times, C) of the columns' means."""
    n = len(terms_NC)
    return resampled(lambda counts_RN: counts_RN @ terms_NC / n, n, times=times, seed=seed)


def percentile_interval(draws_R: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """Low and high, between which the middle `confidence` of the draws lie; draws that are no number do not count."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws_R, (tail, 1 - tail))
    return float(low), float(high)


def counted_auc(score_N: Floats, positive_N: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """A statistic for `resampled`: the area under the ROC curve, (R, 1); ties count half.

    NaN where a draw holds one class only. Raises ShapeError for lengths that differ.
    """
    if score_N.shape != positive_N.shape or score_N.ndim != 1:
        raise ShapeError(f"counted_auc: scores {score_N.shape} and labels {positive_N.shape} must be (n,) alike.")
    order = np.argsort(score_N, kind="stable")
    sorted_score, sorted_positive = score_N[order], positive_N[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_score) > 0])

    def auc(counts_RN: Floats) -> Floats:
        counts = counts_RN[:, order]
        right = np.add.reduceat(counts * sorted_positive, starts, axis=1)
        wrong = np.add.reduceat(counts * (1 - sorted_positive), starts, axis=1)
        below = np.cumsum(wrong, axis=1) - wrong
        pairs = right.sum(1) * wrong.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            area: Floats = (right * (below + wrong / 2)).sum(1) / pairs
        return area[:, None]

    return auc
