"""A power of a sum of parts fitted to measurements of the whole, and what it cannot explain.

Shapes: N measurements, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.errors import ShapeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """`(features . weights_F) ** power` foretells; weights are at least 0.

    `residual_N` is (foretold - measured) / measured, each foretold without itself.
    """

    weights_F: Floats
    power: float
    residual_N: Floats


def fit(
    features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats, powers: Sequence[float] = (1.0,)
) -> Fit:
    """Non-negative weights of least squared relative error, drawn towards `prior_F` with `strength_F`, for the one of
    `powers` that foretells measurements left out best.

    A strength of 0.1 weighs a weight so far from its prior that it doubles the mean foretold root as much as one
    measurement off by a tenth.
    Raises: ShapeError for shapes that do not fit, a measurement that is not above 0, or no power.
    Reference: Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23 (non-negative least squares).
    Example: features ((1, 2), (1, 4)), measured (5, 9), strengths 0 -> weights (1, 2).
    """
    if features_NF.shape != (len(measured_N), len(prior_F)) or strength_F.shape != prior_F.shape or not powers:
        raise ShapeError(
            f"fit: features {features_NF.shape}, measured {measured_N.shape}, prior {prior_F.shape}, "
            f"{len(powers)} powers."
        )
    if not (measured_N > 0).all():
        raise ShapeError("fit: a measurement is not above 0.")
    fits = [_fit(features_NF, measured_N, prior_F, strength_F, power) for power in powers]
    return min(fits, key=lambda one: float(np.square(one.residual_N).sum()))


def _fit(features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats, power: float) -> Fit:
    roots_N = measured_N ** (1 / power)
    everything = _solve(features_NF, roots_N, prior_F, strength_F)
    residual_N = np.empty(len(measured_N))
    for left_out in range(len(measured_N)):
        rest = np.arange(len(measured_N)) != left_out
        weights = _solve(features_NF[rest], roots_N[rest], prior_F, strength_F) if rest.any() else prior_F
        residual_N[left_out] = (features_NF[left_out] @ weights) ** power / measured_N[left_out] - 1
    return Fit(everything, power, residual_N)


def _solve(features_NF: Floats, roots_N: Floats, prior_F: Floats, strength_F: Floats) -> Floats:
    from scipy.optimize import nnls

    parts_NF = features_NF / roots_N[:, None]
    share_F = parts_NF.mean(0)
    pull_F = strength_F * np.where(share_F > 0, share_F, 1.0)
    rows = np.vstack([parts_NF, np.diag(pull_F)])
    wanted = np.concatenate([np.ones(len(roots_N)), pull_F * prior_F])
    # Columns of one size: the constant and milliseconds differ by powers of ten.
    size = np.maximum(np.linalg.norm(rows, axis=0), np.finfo(float).tiny)
    weights, _ = nnls(rows / size, wanted)
    found: Floats = weights / size
    return found
