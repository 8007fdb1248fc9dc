"""Ridge regression against least squares over augmented rows."""

from __future__ import annotations

import numpy as np
import pytest

from paring.errors import SettingError, ShapeError
from paring.numerics.ridge import ridge


def test_ridge_is_the_least_squares_of_the_augmented_rows() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(30, 5)), rng.normal(size=30)
    more = np.concatenate([X, np.sqrt(3.0) * np.eye(5)]), np.concatenate([y, np.zeros(5)])
    assert ridge(X, y, 3.0) == pytest.approx(np.linalg.lstsq(*more, rcond=None)[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingError, match="penalty"):
        ridge(np.ones((4, 3)), np.ones(4), 0.0)
    with pytest.raises(ShapeError, match="ridge"):
        ridge(np.ones((4, 3)), np.ones(3), 1.0)
