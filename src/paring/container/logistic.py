"""Fits the weights of the neighbour model. Used when packing only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paring.container.tables import UNIT, WEIGHT_UNIT

ITERATIONS = 12
RIDGE = 4.0
SAMPLE = 200_000


def fit(features: NDArray[np.int16], answers: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Weights (k,) in 1/32, each from -127 to 127, of least code length for features (n, k) in 1/64, answers (n,).

    Newton's method on the regularised logistic loss.
    """
    step = max(1, len(features) // SAMPLE)
    X, y = features[::step].astype(np.float64) / UNIT, answers[::step].astype(np.float64)
    w = np.zeros(X.shape[1])
    w[1] = 1.0  # to begin with: believe the position's own counts
    center = w.copy()
    for _ in range(ITERATIONS):
        p = 1 / (1 + np.exp(-np.clip(X @ w, -11, 11)))
        gradient = X.T @ (p - y) + RIDGE * (w - center)
        curvature = (X * (p * (1 - p) + 1e-6)[:, None]).T @ X + RIDGE * np.eye(len(w))
        move = np.linalg.solve(curvature, gradient)
        w = np.clip(w - np.clip(move, -1, 1), -127 / WEIGHT_UNIT, 127 / WEIGHT_UNIT)
        if np.abs(move).max() < 1e-3:
            break
    return np.asarray(np.rint(w * WEIGHT_UNIT), np.int64)
