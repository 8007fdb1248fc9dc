from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from paring.errors import SettingError, ShapeError
from paring.numerics.statistics import bootstrap_drop_interval, paired_drop_interval, paired_ratio, tango_interval


@pytest.mark.parametrize(
    ("counts", "confidence", "published"),
    [
        ((1, 7, 21), 0.95, (-0.517, -0.026)),  # airway hyper-responsiveness, Fagerland et al. 2014
        ((28, 25, 618), 0.90, (-0.0148, 0.0247)),  # R, PropCIs::scoreci.mp(25, 28, 618)
    ],
)
def test_tango_gives_the_published_intervals(
    counts: tuple[int, int, int], confidence: float, published: tuple[float, float]
) -> None:
    assert tango_interval(*counts, confidence=confidence) == pytest.approx(published, abs=6e-4)


def test_tango_without_disagreement_has_the_closed_form_width() -> None:
    z2 = norm.ppf(0.975) ** 2
    assert tango_interval(0, 0, 100) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_tango_holds_the_estimate_mirrors_and_stays_a_difference(n: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, n))
    won = data.draw(st.integers(0, n - lost))
    low, high = tango_interval(lost, won, n)
    assert -1 <= low <= (lost - won) / n <= high <= 1
    assert tango_interval(won, lost, n) == pytest.approx((-high, -low), abs=1e-9)
    inner_low, inner_high = tango_interval(lost, won, n, confidence=0.8)
    assert low <= inner_low + 1e-9 and inner_high <= high + 1e-9


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_tango_refuses_what_are_no_counts(counts: tuple[int, int, int]) -> None:
    with pytest.raises(SettingError, match="no counts of n paired examples"):
        tango_interval(*counts)


def coverage(draw: object, interval: object, truth: float, repeats: int) -> float:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(repeats):
        low, high = interval(*draw(rng))  # type: ignore[operator]
        held += low <= truth <= high
    return held / repeats


def test_intervals_of_zero_one_scores_cover_at_small_discordant_counts() -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        cell = rng.choice(4, 300, p=[0.90, 0.07, 0.02, 0.01])  # both right, both wrong, lost, won
        return np.isin(cell, (0, 2)).astype(float), np.isin(cell, (0, 3)).astype(float)

    assert 0.93 <= coverage(draw, paired_drop_interval, 0.01, 1_500) <= 0.985


def test_intervals_of_other_scores_cover() -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        before = rng.normal(size=60)
        return before, before - 0.1 + rng.normal(scale=0.3, size=60)

    assert 0.93 <= coverage(draw, paired_drop_interval, 0.1, 1_500) <= 0.97


def test_a_drop_is_positive_when_examples_are_lost_and_zero_width_only_for_equal_numbers() -> None:
    before = np.array([1.0] * 90 + [0.0] * 10)
    after = np.array([1.0] * 60 + [0.0] * 40)
    low, high = paired_drop_interval(before, after)
    assert 0.2 < low < 0.3 < high < 0.4
    assert paired_drop_interval(before + 0.5, before + 0.5) == (0.0, 0.0)
    low, high = paired_drop_interval(before, before)
    assert low < 0 < high  # the same answers on 100 examples do not promise the same on all


def test_paired_values_must_pair() -> None:
    with pytest.raises(ShapeError, match=r"\(3,\) and \(2,\)"):
        paired_drop_interval([1, 0, 1], [1, 0])
    with pytest.raises(ShapeError, match="at least 2"):
        paired_drop_interval([1], [0])


def test_a_ratio_is_found_under_noise_that_both_share() -> None:
    rng = np.random.default_rng(1)
    shared = rng.lognormal(sigma=0.5, size=40)  # the machine is busy: both slow down alike
    base = shared * 1.10 * rng.lognormal(sigma=0.01, size=40)
    candidate = shared * rng.lognormal(sigma=0.01, size=40)
    ratio, low, high = paired_ratio(base, candidate)
    assert 1.08 < low < ratio < high < 1.12
    assert (ratio, low, high) == paired_ratio(base, candidate)
    assert paired_ratio(base, candidate, seed=1)[0] == ratio


def test_ratio_intervals_cover() -> None:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.lognormal(np.log(1.05), 0.05, 40), rng.lognormal(0, 0.05, 40)

    def interval(base: np.ndarray, candidate: np.ndarray) -> tuple[float, float]:
        return paired_ratio(base, candidate, num_resamples=1_000)[1:]

    assert coverage(draw, interval, 1.05, 500) >= 0.97


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_a_ratio_lies_in_its_interval_and_ignores_units(pairs: list[tuple[float, float]]) -> None:
    base, candidate = np.array(pairs).T
    ratio, low, high = paired_ratio(base, candidate, num_resamples=200)
    assert np.min(base / candidate) <= low <= high <= np.max(base / candidate)
    assert paired_ratio(4 * base, 4 * candidate, num_resamples=200) == (ratio, low, high)


def test_blocks_that_took_no_time_are_refused() -> None:
    with pytest.raises(SettingError, match="a block took no time"):
        paired_ratio([1, 0], [1, 1])
    with pytest.raises(SettingError, match=r"confidence is 1\.5"):
        paired_ratio([1, 2], [1, 1], confidence=1.5)


def correlation(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([outputs, targets]))[0, 1])


def test_a_bootstrapped_drop_is_paired_signed_and_repeatable() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(200, generator=generator)
    before = targets + 0.5 * torch.randn(200, generator=generator)
    after = before + 1.0 * torch.randn(200, generator=generator)
    arguments = (correlation, before, after, targets)
    low, high = bootstrap_drop_interval(*arguments, num_resamples=200)
    assert 0 < low < correlation(before, targets) - correlation(after, targets) < high
    assert bootstrap_drop_interval(*arguments, num_resamples=200) == (low, high)
    flipped = bootstrap_drop_interval(*arguments, num_resamples=200, higher_is_better=False)
    assert flipped == pytest.approx((-high, -low))
    assert bootstrap_drop_interval(correlation, before, before, targets, num_resamples=20) == (0, 0)


def test_a_metric_that_is_never_finite_says_so() -> None:
    ones = np.ones(4)
    with pytest.raises(ShapeError, match="finite on no resample"):
        bootstrap_drop_interval(lambda outputs, targets: float("nan"), ones, ones, ones, num_resamples=5)
    with pytest.raises(ShapeError, match="must agree"):
        bootstrap_drop_interval(lambda outputs, targets: 0.0, ones, ones[:2], ones)
