"""Ridge regression in closed form. Shapes: N examples, F features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paring.errors import SettingError, ShapeError

Floats = NDArray[np.float64]


def ridge(X_NF: Floats, y_N: Floats, penalty: float) -> Floats:
    """Coefficients (features,) of least `|X w - y|^2 + penalty |w|^2`.

    Raises: ShapeError for lengths that differ, SettingError unless the penalty is above 0.
    """
    if X_NF.ndim != 2 or len(X_NF) != len(y_N):
        raise ShapeError(f"ridge: X is {X_NF.shape}, y {y_N.shape}; X must be (n, features) and y (n,).")
    if penalty <= 0:
        raise SettingError(f"ridge: penalty is {penalty}; it must be above 0.")
    gram = X_NF.T @ X_NF + penalty * np.eye(X_NF.shape[1])
    return np.asarray(np.linalg.solve(gram, X_NF.T @ y_N), np.float64)
