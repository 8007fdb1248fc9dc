"""The answer is the best inside, a miss is told with its price, and failures are called what they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paring.core.budget import Budget
from paring.core.measurement import Measurement, Quality, Ratio
from paring.core.target import Target
from paring.errors import (
    BudgetError,
    EngineError,
    ExportError,
    LayerError,
    NothingToDoError,
    ParityError,
    TaskError,
    TraceError,
)  # fmt: skip
from paring.search.failures import outcome_of
from paring.search.goal import chosen, failed_value, value_of, what_each_limit_costs
from paring.search.trials import pareto_front


def seen(name: str, ms: float, num_bytes: int, drop: float) -> Measurement:
    return Measurement(
        name=name,
        recipe=(),
        metric_name="accuracy",
        quality=Quality("validation", 0.9 - drop, drop, (drop, drop), 100),
        num_params=1,
        macs=1,
        file_bytes=num_bytes,
        target=Target(),
        latency_ms={"p50": ms, "p90": ms, "p99": ms},
        throughput_per_s=1000 / ms,
        speedup=Ratio(1 / ms, 0.999 / ms, 1.001 / ms),
        speedup_eager=None,
        verdict="faster",
        noise_floor=0.01,
    )


FAST = seen("fast", 0.1, 500, 0.05)
SMALL = seen("small", 0.5, 100, 0.01)
EXACT = seen("exact", 0.9, 900, 0.0)
WORSE = seen("worse", 0.9, 901, 0.0)
ALL = [EXACT, SMALL, FAST, WORSE]


def test_the_best_inside_is_chosen_not_the_first() -> None:
    assert chosen(ALL, Budget(max_metric_drop=0.1)) is FAST
    assert chosen(ALL, Budget(max_metric_drop=0.02)) is SMALL
    assert chosen(ALL, Budget(max_metric_drop=0.1), "smallest") is SMALL
    assert chosen(ALL, Budget(max_metric_drop=0.0), "smallest") is EXACT


def test_values_order_as_the_choice_does() -> None:
    budget = Budget(max_metric_drop=0.02)
    values = {one.name: value_of(one, budget) for one in ALL}
    assert values["small"] < values["exact"] < values["fast"] < failed_value()
    nearer = value_of(seen("nearer", 0.1, 500, 0.021), budget)
    assert values["exact"] < nearer < values["fast"]
    assert value_of(SMALL, budget, "smallest") < value_of(EXACT, budget, "smallest")


def test_a_miss_names_the_nearest_and_what_each_limit_costs() -> None:
    budget = Budget(max_metric_drop=0.005, max_latency_ms=0.6)
    with pytest.raises(BudgetError) as caught:
        chosen(ALL, budget)
    words = str(caught.value)
    assert "none of 4 candidates stays inside" in words
    assert "Only the limit on p50 latency keeps out exact: 0.9 ms would do." in words
    assert "Only the limit on metric drop keeps out small: 0.01 would do." in words
    tight = Budget(max_metric_drop=0.005, max_latency_ms=0.01)
    assert "The limit on metric drop alone is not what blocks." in what_each_limit_costs(ALL, tight)


def test_the_front_holds_what_nothing_beats() -> None:
    assert [one.name for one in pareto_front(ALL)] == ["fast", "small", "exact"]
    twin = replace(FAST, name="twin")
    assert {one.name for one in pareto_front([FAST, twin])} == {"fast", "twin"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (TaskError("the loss became NaN after 3 steps"), "not a number"),
        (TraceError("the model cannot be traced: its control flow depends on data"), "untraceable"),
        (ExportError("no translation for aten.foo: unsupported"), "unsupported op"),
        (ExportError("the file is beyond 2 GB"), "not exportable"),
        (ParityError("differs by 3"), "other answers"),
        (EngineError("refuses the file"), "cannot be run"),
        (NothingToDoError("finds no layer"), "nothing to do"),
        (LayerError("the finance layer has 3 channels"), "does not fit the layers"),
        (BudgetError("the least is 3 ms"), "out of reach"),
        (TimeoutError("late"), "timeout"),
        (ZeroDivisionError("division"), "crash"),
    ],
)
def test_failures_are_called_what_they_are(error: Exception, kind: str) -> None:
    assert outcome_of(error) == kind


def test_the_cause_counts_too() -> None:
    error = ExportError("could not be written")
    error.__cause__ = MemoryError("std::bad_alloc")
    assert outcome_of(error) == "out of memory"
