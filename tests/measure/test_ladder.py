"""The highest rate is searched on a made-up server whose p99 at a rate is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paring.errors import SettingError
from paring.measure.ladder import breaking_point, highest_rate, ladder
from paring.measure.loadgen import LoadResult


def served(rate: float, p99: float) -> LoadResult:
    latency = {"p50": p99 / 2, "p90": p99 / 1.5, "p99": p99}
    return LoadResult("Server", True, "", latency, min(rate, 1000.0), rate, 100, 1.0, 1.0)


def server(saturation: float) -> Callable[[float], LoadResult]:
    """1 ms unloaded, growing as a queue does, and 1,000 ms beyond saturation."""
    return lambda rate: served(rate, 1 / (1 - rate / saturation) if rate < saturation else 1000.0)


@pytest.mark.parametrize("limit_ms", [1.5, 4.0, 100.0])
def test_bisection_ends_below_the_highest_rate_that_keeps_the_limit_and_close_to_it(limit_ms: float) -> None:
    found = highest_rate(server(1000.0), limit_ms, 1000.0, rounds=12)
    true = 1000 * (1 - 1 / limit_ms)
    assert found.per_s is not None
    assert true - 1100 / 2**12 <= found.per_s <= true
    assert len(found.tried) == 12
    assert all(kept == (latency <= limit_ms) for _, latency, kept in found.tried)
    assert found.per_s == max(rate for rate, _, kept in found.tried if kept)


def test_a_limit_that_nothing_keeps_has_no_rate_and_one_that_all_keep_ends_above_saturation() -> None:
    assert highest_rate(server(1000.0), 0.5, 1000.0).per_s is None
    never_slow = highest_rate(lambda rate: served(rate, 0.1), 0.5, 1000.0, rounds=8).per_s
    assert never_slow is not None and 1000 < never_slow < 1100


def test_the_percentile_asked_for_decides() -> None:
    by_median = highest_rate(server(1000.0), 2.0, 1000.0, percentile="p50", rounds=12)
    assert by_median.per_s == pytest.approx(750, abs=1)  # p50 is half of p99: the limit acts as 4 ms


@pytest.mark.parametrize(("limit_ms", "saturation"), [(0.0, 100.0), (-1.0, 100.0), (1.0, 0.0)])
def test_limit_and_saturation_must_be_above_0(limit_ms: float, saturation: float) -> None:
    with pytest.raises(SettingError, match="both must be above 0"):
        highest_rate(server(1.0), limit_ms, saturation)


def test_a_ladder_climbs_to_twice_saturation_and_shows_where_latency_breaks() -> None:
    rungs = ladder(server(1000.0), 1000.0)
    shares = [share for share, _ in rungs]
    assert shares == sorted(shares) and shares[-1] == 2.0
    assert [result.scheduled_per_s for _, result in rungs] == [1000 * share for share in shares]
    assert breaking_point(rungs) == 900.0  # 1 / (1 - 0.9) is 10 ms, 7.5 times that at a quarter of the load
    assert breaking_point(rungs, factor=2000.0) is None
