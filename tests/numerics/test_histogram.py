"""Ranges from distributions."""

from __future__ import annotations

import pytest
import torch

from paring.errors import LayerError
from paring.numerics.histogram import Histogram, kl_range, mse_range, percentile_range
from paring.numerics.quant import Range, observe


def histogram_of(x: torch.Tensor) -> Histogram:
    histogram = Histogram(observe(x))
    histogram.add_(x)
    return histogram


def rounded(x: torch.Tensor, seen: Range) -> torch.Tensor:
    step = (seen.high - seen.low) / 255
    return seen.low + torch.round((x.clamp(seen.low, seen.high) - seen.low) / step) * step


def test_counts_add_up_and_parts_merge() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    whole, parts = histogram_of(x), Histogram(observe(x))
    for part in x.split(77):
        parts.add_(part)
    assert torch.equal(whole.counts, parts.counts) and float(whole.counts.sum()) == 1000


def test_percentiles_of_a_normal_and_of_all() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    found = percentile_range(histogram_of(x), 99.9)
    assert found.low == pytest.approx(-3.29, abs=0.08) and found.high == pytest.approx(3.29, abs=0.08)
    every = percentile_range(histogram_of(x), 100.0)
    assert every.low == pytest.approx(float(x.min()), abs=1e-3) and every.high == pytest.approx(
        float(x.max()), abs=1e-3
    )


@pytest.mark.parametrize(("choose", "outlier"), [(mse_range, 60.0), (kl_range, 300.0)])
def test_a_lone_outlier_is_clipped(choose: object, outlier: float) -> None:
    assert callable(choose)
    x = torch.cat([torch.randn(200_000, generator=torch.Generator().manual_seed(0)), torch.tensor([outlier])])
    found = choose(histogram_of(x))
    assert found.high < 0.8 * outlier and found.low < -2


def test_least_squares_beats_all_that_was_seen() -> None:
    x = torch.randn(50_000, generator=torch.Generator().manual_seed(1)) ** 3
    chosen, seen = mse_range(histogram_of(x)), observe(x)
    error = ((rounded(x, chosen) - x) ** 2).mean()
    for share in (1.0, 0.8, 0.6, 0.4):
        assert error <= 1.02 * ((rounded(x, Range(share * seen.low, share * seen.high)) - x) ** 2).mean()


@pytest.mark.parametrize("choose", [mse_range, kl_range, lambda histogram: percentile_range(histogram, 99.0)])
def test_constants_and_nothing_are_taken_as_they_are(choose: object) -> None:
    assert callable(choose)
    assert choose(histogram_of(torch.full((9,), 2.0))) == observe(torch.full((9,), 2.0))
    assert choose(Histogram(Range())).is_empty
    zeros = torch.zeros(5)
    assert choose(histogram_of(zeros)) == observe(zeros)


def test_nan_is_refused() -> None:
    with pytest.raises(LayerError):
        Histogram(Range(0, 1)).add_(torch.tensor([0.5, float("nan")]))
