"""How many singular values stand above noise: empirical variational Bayes, solved analytically.

Legend: K singular values of an L x M matrix, L <= M. Model: `Y = B A^T + noise`, Gaussian priors whose widths are
learned, noise variance learned too. Reference: Nakajima, Sugiyama, Babacan and Tomioka 2013, "Global analytic solution
of fully-observed variational Bayesian matrix factorization", JMLR 14:1-37; equation numbers are not given because
the journal and the preprint number differently.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

Array = NDArray[np.float64]


def evbmf_rank(squares_K: Tensor, shape: tuple[int, int]) -> int:
    """The rank that empirical variational Bayes keeps, 0 if it finds nothing above the noise.

    Args:
        squares_K: squared singular values of the matrix, largest first; missing ones count as zero.
        shape: of the matrix, in either order.
    Example: a (60, 200) matrix of rank 3 plus noise -> 3.
    """
    L, M = min(shape), max(shape)
    squares = np.zeros(L)
    squares[: len(squares_K)] = squares_K.double().numpy()
    if not squares.any():
        return 0
    variance = noise_variance(squares, L, M)
    return int((squares > threshold(L, M) * M * variance).sum())


def noise_variance(squares: Array, L: int, M: int) -> float:
    """The noise variance at the minimum of the free energy."""
    alpha, limit = L / M, threshold(L, M)
    highest = float(squares.sum()) / (L * M)
    # The kept components number at most ceil(L / (1 + alpha)) - 1, so the next value bounds the noise from below.
    first = min(max(math.ceil(L / (1 + alpha)) - 1, 0), L - 1)
    lowest = max(float(squares[first]) / (M * limit), float(squares[first:].mean()) / M, highest * 1e-12)
    if lowest >= highest:
        return highest
    # The objective has several dips: look on a grid first, then refine around the best one.
    grid = np.geomspace(lowest, highest, 200)
    values = [free_energy(variance, squares, L, M) for variance in grid]
    best = int(np.argmin(values))
    ends = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = minimize_scalar(free_energy, bounds=ends, args=(squares, L, M), method="bounded")
    return float(found.x if found.fun <= values[best] else grid[best])


def free_energy(variance: float, squares: Array, L: int, M: int) -> float:
    """The free energy at its minimum over all else, as a function of the noise variance; up to a constant, over M/2."""
    alpha, limit = L / M, threshold(L, M)
    x = squares / (M * variance)
    kept, left = x[x > limit], np.maximum(x[x <= limit], 1e-300)
    tau = _tau(kept, alpha)
    noise = float((left - np.log(left)).sum())
    signal = float((kept - tau + np.log((tau + 1) / kept) + alpha * np.log(tau / alpha + 1)).sum())
    return noise + signal


def threshold(L: int, M: int) -> float:
    """The value of `s^2 / (M variance)` above which a singular value s is kept."""
    alpha = L / M
    tau = _critical_tau(alpha)
    return (1 + tau) * (1 + alpha / tau)


def shrunk(value: float, variance: float, L: int, M: int) -> float:
    """What a kept singular value is shrunk to; below the threshold it becomes 0."""
    square = value**2
    if square <= threshold(L, M) * M * variance:
        return 0.0
    inner = 1 - (L + M) * variance / square
    return value / 2 * (inner + math.sqrt(inner**2 - 4 * L * M * variance**2 / square**2))


def _tau(x: Array, alpha: float) -> Array:
    centred = x - (1 + alpha)
    return np.asarray((centred + np.sqrt(np.maximum(centred**2 - 4 * alpha, 0.0))) / 2)


def _critical_tau(alpha: float) -> float:
    """The root of `phi(tau) + phi(tau / alpha) = 0`, `phi(z) = log(1 + z) / z - 1/2`; about 2.5129 sqrt(alpha)."""

    def balance(tau: float) -> float:
        return math.log1p(tau) / tau - 0.5 + math.log1p(tau / alpha) / (tau / alpha) - 0.5

    return float(brentq(balance, 1e-9, 2.6))
