"""A sum of parts fitted to measurements of the whole, and what it cannot explain.

Shapes: N measurements, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.errors import ShapeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """`weights_F` at least 0; `residual_N` is (foretold - measured) / measured, each foretold without itself."""

    weights_F: Floats
    residual_N: Floats


def fit(features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats) -> Fit:
    """Non-negative weights of least squared relative error, drawn towards `prior_F` with `strength_F`.

    A strength of 0.1 weighs a weight off by its whole prior as much as one measurement off by a tenth.
    Raises: ShapeError for shapes that do not fit, or a measurement that is not above 0.
    Reference: Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23 (non-negative least squares).
    Example: features ((1, 2), (1, 4)), measured (5, 9), strengths 0 -> weights (1, 2).
    """
    if features_NF.shape != (len(measured_N), len(prior_F)) or strength_F.shape != prior_F.shape:
        raise ShapeError(f"fit: features {features_NF.shape}, measured {measured_N.shape}, prior {prior_F.shape}.")
    if not (measured_N > 0).all():
        raise ShapeError("fit: a measurement is not above 0.")
    everything = _solve(features_NF, measured_N, prior_F, strength_F)
    residual_N = np.empty(len(measured_N))
    for left_out in range(len(measured_N)):
        rest = np.arange(len(measured_N)) != left_out
        weights = _solve(features_NF[rest], measured_N[rest], prior_F, strength_F) if rest.any() else prior_F
        residual_N[left_out] = features_NF[left_out] @ weights / measured_N[left_out] - 1
    return Fit(everything, residual_N)


def _solve(features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats) -> Floats:
    from scipy.optimize import nnls

    scale = np.where(prior_F > 0, prior_F, 1.0)
    rows = np.vstack([features_NF / measured_N[:, None], np.diag(strength_F / scale)])
    wanted = np.concatenate([np.ones(len(measured_N)), strength_F * prior_F / scale])
    # Columns of one size: milliseconds and counts differ by powers of ten.
    size = np.maximum(np.linalg.norm(rows, axis=0), np.finfo(float).tiny)
    weights, _ = nnls(rows / size, wanted)
    found: Floats = weights / size
    return found
