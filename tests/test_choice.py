"""Which candidate ships: the fastest inside the budget, then bytes, then the name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paring import Budget, Measurement, select
from paring.core.measurement import Quality, Ratio
from paring.core.target import Target
from paring.errors import BudgetError


def measured(name: str, ratio: float, file_bytes: int = 1000, drop: float = 0.0, width: float = 0.1) -> Measurement:
    """A file `ratio` times as fast as the baseline, within +-`width`."""
    return Measurement(
        name=name,
        recipe=(),
        metric_name="accuracy",
        quality=Quality("validation", 0.9 - drop, drop, None, 100),
        num_params=10,
        macs=10,
        file_bytes=file_bytes,
        target=Target(),
        latency_ms={"p50": 1.0, "p90": 1.0, "p99": 1.0},
        throughput_per_s=1000.0,
        speedup=Ratio(ratio, ratio - width, ratio + width),
        speedup_eager=None,
        verdict="faster",
        noise_floor=0.01,
    )


def test_the_fastest_inside_the_budget_is_chosen() -> None:
    field = [measured("slow", 1.5), measured("fast", 2.0), measured("lossy", 9.0, drop=0.02)]
    assert select(field, Budget(max_metric_drop=0.01)).name == "fast"
    assert select(field, Budget()).name == "lossy"


def test_what_the_clock_cannot_tell_apart_is_decided_by_bytes_then_by_name() -> None:
    field = [measured("quick", 2.05, 900), measured("b", 2.0, 500), measured("a", 1.95, 500), measured("tiny", 1.0, 1)]
    assert select(field, Budget()).name == "a"
    assert select(field[::-1], Budget()).name == "a"


def test_a_clear_lead_beats_a_smaller_file() -> None:
    assert select([measured("big", 3.0, 9000), measured("small", 2.0, 1)], Budget()).name == "big"


def test_a_metric_that_is_no_number_is_never_inside() -> None:
    broken = measured("broken", 5.0)
    broken = replace(broken, quality=replace(broken.quality, drop=float("nan")))
    assert select([broken, measured("sound", 1.0)], Budget(max_metric_drop=0.01)).name == "sound"


def test_five_of_500_keep_a_limit_of_one_point_whatever_their_last_bits() -> None:
    drop = 0.986 - 0.976
    assert drop > 0.01
    assert select([measured("five", 1.5, drop=drop)], Budget(max_metric_drop=0.01)).name == "five"
    with pytest.raises(BudgetError):
        select([measured("six", 1.5, drop=0.986 - 0.975)], Budget(max_metric_drop=0.01))


def test_a_missed_budget_names_the_nearest_miss_and_what_it_breaks() -> None:
    field = [measured("near", 2.0, 1500), measured("far", 3.0, 9000)]
    with pytest.raises(BudgetError) as caught:
        select(field, Budget(max_file_bytes=1000))
    assert "none of 2 candidates" in str(caught.value)
    assert "Nearest is near: file size 1,500 bytes where the budget says 1,000 bytes. Give way" in str(caught.value)
    with pytest.raises(BudgetError, match="the one candidate does not stay inside"):
        select(field[:1], Budget(max_file_bytes=1000))


def test_no_candidate_at_all_says_so() -> None:
    with pytest.raises(BudgetError, match=r"no candidate was measured.* Give recipes, or more time"):
        select([], Budget())
