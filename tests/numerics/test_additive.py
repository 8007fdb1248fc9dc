"""The fit of a whole from its parts, against a planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from paring.errors import ShapeError
from paring.numerics.additive import fit

ONES = np.ones(3)


def planted(noise: float, n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(n), rng.uniform(0, 2, n), rng.integers(0, 20, n)])
    return features, features @ (0.3, 1.2, 0.01) * (1 + noise * rng.standard_normal(n))


def test_an_exact_sum_is_found() -> None:
    features, measured = planted(0.0)
    found = fit(features, measured, np.array([0.0, 1, 0]), np.zeros(3))
    assert found.weights_F == pytest.approx([0.3, 1.2, 0.01], rel=1e-6)
    assert np.abs(found.residual_N).max() < 1e-6


@pytest.mark.parametrize("slope", [0.0, 0.05])
def test_what_lies_beyond_a_size_is_found(slope: float) -> None:
    features, held = planted(0.0)
    size = np.random.default_rng(1).uniform(3, 40, len(held))
    knee = float(np.sort(size)[12])
    found = fit(features, held + slope * np.maximum(0, size - knee), np.array([0.0, 1, 0]), np.zeros(3), size)
    assert found.weights_F == pytest.approx([0.3, 1.2, 0.01], rel=1e-6) and found.slope == pytest.approx(slope)
    assert np.abs(found.residual_N).max() < 0.02 and (found.knee == knee or not slope)


def test_the_knee_leaves_two_sizes_beyond_it() -> None:
    features, held = planted(0.0)
    size = np.arange(len(held), dtype=float)
    jump = held + 10.0 * np.maximum(0, size - (len(held) - 2))  # of the largest alone: no slope can be told from that
    assert fit(features, jump, np.array([0.0, 1, 0]), np.zeros(3), size).knee <= len(held) - 3


def test_a_part_that_never_occurs_keeps_its_prior() -> None:
    features, measured = planted(0.01)
    features = np.column_stack([features, np.zeros(len(features))])
    found = fit(features, measured, np.array([0.0, 1, 0, 1]), np.array([0.0, 0.1, 0.1, 0.1]))
    assert found.weights_F[3] == pytest.approx(1.0)


def test_a_part_too_small_to_tell_keeps_its_prior() -> None:
    features, measured = planted(0.05)
    small = np.random.default_rng(2).uniform(0, 0.01, len(features))  # of about 1.6
    found = fit(
        np.column_stack([features, small]), measured + small, np.array([0.0, 1, 0, 1]), np.array([0, 0.05, 0.05, 0.05])
    )
    assert found.weights_F[3] == pytest.approx(1.0, abs=0.1) and found.weights_F[1] == pytest.approx(1.2, abs=0.1)


def test_the_residual_is_that_of_measurements_not_seen() -> None:
    features, measured = planted(0.03)
    found = fit(features, measured, np.array([0.0, 1, 0]), np.zeros(3))
    assert 0.015 < np.sqrt(np.square(found.residual_N).mean()) < 0.06
    seen = features @ found.weights_F / measured - 1
    assert np.square(found.residual_N).mean() > np.square(seen).mean()


def test_weights_stay_at_least_zero_and_near_their_prior_without_data() -> None:
    features = np.array([[1.0, 2.0, 0.0]])
    found = fit(features, np.array([2.0]), np.array([0.0, 1, 0]), np.array([0.0, 10, 0]))
    assert found.weights_F[1] == pytest.approx(1.0, abs=1e-3) and (found.weights_F >= 0).all()
    falling = np.column_stack([ONES, np.array([1.0, 2, 3])])
    assert (fit(falling, np.array([3.0, 2, 1]), np.zeros(2), np.zeros(2)).weights_F >= 0).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError):
        fit(np.ones((3, 2)), ONES, np.ones(3), np.ones(3))
    with pytest.raises(ShapeError, match="sizes"):
        fit(np.ones((3, 3)), ONES, ONES, ONES, np.ones(2))
    with pytest.raises(ShapeError, match="above 0"):
        fit(np.ones((3, 3)), 0 * ONES, ONES, ONES)
