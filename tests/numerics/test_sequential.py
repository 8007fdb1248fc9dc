"""Confidence sequences: they cover at every look, and they narrow."""

from __future__ import annotations

import numpy as np
import pytest

from paring.errors import SettingError
from paring.numerics.sequential import MeanSequence, RatioSequence


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.98])
def test_looking_after_every_number_does_not_inflate_the_error(mean: float) -> None:
    """Of 60 sequences watched for 150 numbers, at alpha 0.1, the truth is ever left out by few (a plain 90 % interval
    looked at every time leaves it out in about half)."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(60):
        sequence = MeanSequence(0.0, 1.0, 0.1)
        for value in (rng.random(150) < mean).astype(float):
            sequence.add(value)
        low, high = sequence.interval  # the intersection over time: if it covers now, it always did
        missed += not low <= mean <= high
    assert missed <= 11  # 6 expected at most; two standard deviations more


def test_it_narrows_around_the_mean() -> None:
    sequence = MeanSequence(-1.0, 1.0)
    assert sequence.interval == (-1.0, 1.0) and np.isnan(sequence.mean)
    sequence.add(0.0, 960), sequence.add(1.0, 30), sequence.add(-1.0, 10)
    low, high = sequence.interval
    assert sequence.mean == pytest.approx(0.02) and low <= 0.02 <= high and high - low < 0.2
    with pytest.raises(SettingError, match="outside"):
        sequence.add(1.5)


def test_perfect_agreement() -> None:
    sequence = MeanSequence(0.0, 1.0)
    sequence.add(1.0, 500)
    low, high = sequence.interval
    assert 0.96 < low < 0.995 and high == 1.0


def test_ratios() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(100):
        sequence, ever_out = RatioSequence(0.1), False
        for ratio in np.exp(rng.normal(np.log(2.0), 0.3, 300)):
            sequence.add(float(ratio))
            low, high = sequence.interval
            ever_out |= not low <= 2.0 <= high
        missed += ever_out
    assert missed <= 16
    assert sequence.ratio == pytest.approx(2.0, rel=0.1) and high / low < 1.3
    with pytest.raises(SettingError, match="above 0"):
        sequence.add(0.0)
