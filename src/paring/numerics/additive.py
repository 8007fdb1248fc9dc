"""A sum of parts, and of what goes beyond a size, fitted to measurements of the whole; and what it cannot explain.

Shapes: N measurements, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.errors import ShapeError

Floats = NDArray[np.float64]
BEYOND = 2  # different sizes above the knee, at least


@dataclass(frozen=True)
class Fit:
    """`features . weights_F + slope * max(0, size - knee)` foretells; weights and slope are at least 0.

    `residual_N` is (foretold - measured) / measured, each foretold by a fit, knee and all, that has not seen it.
    """

    weights_F: Floats
    knee: float
    slope: float
    residual_N: Floats


def fit(
    features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats, size_N: Floats | None = None
) -> Fit:
    """Non-negative weights of least squared relative error, drawn towards `prior_F` with `strength_F`.

    A strength of 0.1 weighs a weight off its prior by 1 as much as one measurement off by a tenth, however small
    its feature's share: what no measurement can tell stays where it was. The knee is the one of the sizes that leaves
    the least error, with at least BEYOND sizes above it; the slope is free. Without such sizes there is neither.
    Raises: ShapeError for shapes that do not fit, or a measurement that is not above 0.
    Reference: Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23 (non-negative least squares).
    Example: features ((1, 2), (1, 4)), measured (5, 9), strengths 0 -> weights (1, 2).
    """
    size_N = np.zeros(len(measured_N)) if size_N is None else size_N
    if (
        features_NF.shape != (len(measured_N), len(prior_F))
        or strength_F.shape != prior_F.shape
        or size_N.shape != measured_N.shape
    ):
        raise ShapeError(
            f"fit: features {features_NF.shape}, measured {measured_N.shape}, prior {prior_F.shape}, sizes "
            f"{size_N.shape}."
        )
    if not (measured_N > 0).all():
        raise ShapeError("fit: a measurement is not above 0.")
    weights, knee = _with_knee(features_NF, measured_N, prior_F, strength_F, size_N)
    residual_N = np.empty(len(measured_N))
    for left_out in range(len(measured_N)):
        rest = np.arange(len(measured_N)) != left_out
        seen = features_NF[rest], measured_N[rest], prior_F, strength_F, size_N[rest]
        others, bend = _with_knee(*seen) if rest.any() else (np.append(prior_F, 0.0), 0.0)
        told = features_NF[left_out] @ others[:-1] + others[-1] * max(0.0, size_N[left_out] - bend)
        residual_N[left_out] = told / measured_N[left_out] - 1
    return Fit(weights[:-1], knee, float(weights[-1]), residual_N)


def _with_knee(
    features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats, size_N: Floats
) -> tuple[Floats, float]:
    """(weights and the slope behind them, knee) of least error."""
    prior, strength = np.append(prior_F, 0.0), np.append(strength_F, 0.0)
    knees = [knee for knee in np.unique(size_N) if np.unique(size_N[size_N > knee]).size >= BEYOND]
    found = []
    for knee in knees or [size_N.max()]:
        columns = np.column_stack([features_NF, np.maximum(0.0, size_N - knee)])
        weights, error = _solve(columns, measured_N, prior, strength)
        found.append((error, float(knee), weights))
    _, knee, weights = min(found, key=lambda one: one[:2])
    return weights, knee


def _solve(features_NF: Floats, measured_N: Floats, prior_F: Floats, strength_F: Floats) -> tuple[Floats, float]:
    """(weights, error)."""
    from scipy.optimize import nnls

    parts_NF = features_NF / measured_N[:, None]
    rows = np.vstack([parts_NF, np.diag(strength_F)])
    wanted = np.concatenate([np.ones(len(measured_N)), strength_F * prior_F])
    # Columns of one size: the constant and milliseconds differ by powers of ten.
    size = np.maximum(np.linalg.norm(rows, axis=0), np.finfo(float).tiny)
    weights, error = nnls(rows / size, wanted)
    found: Floats = weights / size
    return found, float(error)
