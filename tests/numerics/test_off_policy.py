"""Policy values against experiments whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from paring.errors import SettingError, ShapeError
from paring.numerics.off_policy import doubly_robust, inverse_propensity

PROPENSITY = np.array([0.2, 0.5, 0.3])
MEAN = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0], [0.5, 2.5, -1.0], [7.0, 1.0, 1.0]])  # reward by customer and arm
POLICY = np.array([1, 2, 0, 0])
TRUTH = MEAN[np.arange(4), POLICY].mean()


def expected(estimate, *more) -> float:  # type: ignore[no-untyped-def]
    """The estimate's mean over every way the lots could have fallen: exact, since customers are drawn alone."""
    total = 0.0
    for arm, chance in enumerate(PROPENSITY):
        arms = np.full(4, arm)
        total += chance * estimate(MEAN[:, arm], arms, POLICY, PROPENSITY, *more).mean()
    return float(total)


def test_inverse_propensity_is_right_on_average() -> None:
    assert expected(inverse_propensity) == pytest.approx(TRUTH, abs=1e-12)


def test_doubly_robust_is_right_on_average_whatever_is_foretold() -> None:
    wild = np.random.default_rng(0).normal(size=(4, 3)) * 10
    assert expected(doubly_robust, wild) == pytest.approx(TRUTH, abs=1e-12)
    assert expected(doubly_robust, np.zeros((4, 3))) == pytest.approx(TRUTH, abs=1e-12)


def test_doubly_robust_is_right_with_wrong_probabilities_where_the_foretelling_is_true() -> None:
    wrong = np.array([0.6, 0.3, 0.1])
    for arm in range(3):  # not only on average: nothing is left to chance
        terms = doubly_robust(MEAN[:, arm], np.full(4, arm), POLICY, wrong, MEAN)
        assert terms.mean() == pytest.approx(TRUTH, abs=1e-12)
        assert inverse_propensity(MEAN[:, arm], np.full(4, arm), POLICY, wrong).mean() != pytest.approx(TRUTH)


def test_a_good_foretelling_narrows_the_estimate() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 4, 20_000)
    arms = rng.choice(3, 20_000, p=PROPENSITY)
    reward = MEAN[rows, arms] + rng.normal(size=20_000)
    plain = inverse_propensity(reward, arms, POLICY[rows], PROPENSITY)
    robust = doubly_robust(reward, arms, POLICY[rows], PROPENSITY, MEAN[rows] + 0.1)
    assert robust.std() < plain.std() / 2
    truth = MEAN[rows, POLICY[rows]].mean()
    for terms in (plain, robust):
        assert abs(terms.mean() - truth) < 4 * terms.std() / np.sqrt(20_000)


def test_what_does_not_fit_is_refused() -> None:
    reward, arms = np.ones(4), np.zeros(4, int)
    with pytest.raises(ShapeError, match="alike"):
        inverse_propensity(reward, arms[:3], POLICY, PROPENSITY)
    with pytest.raises(SettingError, match=r"\(0, 1\]"):
        inverse_propensity(reward, arms, POLICY, np.array([0.0, 0.5, 0.5]))
    with pytest.raises(ShapeError, match="beyond the 2"):
        inverse_propensity(reward, arms, POLICY, np.array([0.5, 0.5]))
    with pytest.raises(ShapeError, match="foretold"):
        doubly_robust(reward, arms, POLICY, PROPENSITY, MEAN[:, :2])
