"""Resampled figures against closed forms and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from paring.errors import SettingError, ShapeError
from paring.numerics import resample
from paring.numerics.resample import counted_auc, mean_draws, percentile_interval, resampled


def test_draws_of_a_mean_have_its_standard_error() -> None:
    terms = np.random.default_rng(0).normal(size=(400, 2)) * [1.0, 3.0]
    draws = mean_draws(terms, times=4_000)
    assert draws.shape == (4_000, 2)
    assert draws.mean(0) == pytest.approx(terms.mean(0), abs=0.02)
    assert draws.std(0) == pytest.approx(terms.std(0) / 20, rel=0.05)
    low, high = percentile_interval(draws[:, 0])
    assert (high - low) / 2 == pytest.approx(1.96 * terms[:, 0].std() / 20, rel=0.06)


def test_columns_are_drawn_together_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = np.random.default_rng(1).normal(size=(50, 1))
    both = mean_draws(np.concatenate([terms, terms + 2], 1), times=60)
    assert both[:, 1] - both[:, 0] == pytest.approx(np.full(60, 2.0))
    monkeypatch.setattr(resample, "CELLS", 350)
    assert mean_draws(terms, times=60)[:, 0] == pytest.approx(both[:, 0])


def by_hand(score: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> float:
    pairs = right = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            weight = counts[i] * counts[j]
            pairs += weight
            right += weight * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return right / pairs


def test_auc_counts_every_pair_and_half_of_ties() -> None:
    rng = np.random.default_rng(2)
    score, positive = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    counts = np.stack([np.ones(40), rng.integers(0, 4, 40).astype(float)])
    found = counted_auc(score, positive)(counts)
    assert found[:, 0] == pytest.approx([by_hand(score, positive, one) for one in counts])


def test_a_draw_of_one_class_is_no_number_and_does_not_count() -> None:
    statistic = counted_auc(np.array([0.0, 1.0]), np.array([False, True]))
    assert np.isnan(statistic(np.array([[2.0, 0.0]]))[0, 0])
    assert percentile_interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(SettingError, match="at least one"):
        resampled(lambda counts: counts, 0)
    with pytest.raises(ShapeError, match="alike"):
        counted_auc(np.zeros(3), np.zeros(2, bool))
