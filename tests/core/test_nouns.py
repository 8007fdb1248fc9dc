"""Targets, budgets, recipes and edits as values."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from paring.core.budget import Budget
from paring.core.edit import Edit
from paring.core.measurement import Measurement, Quality, Ratio
from paring.core.recipe import Recipe
from paring.core.target import Target
from paring.errors import BudgetError, CorruptFileError, MissingError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.edits.factorize import Factorize
from tests.nets import image_task

MEASURED = Measurement(
    name="x",
    recipe=(),
    metric_name="accuracy",
    quality=Quality("validation", 0.97, 0.01, (0.0, 0.02), 1000),
    num_params=10,
    macs=10,
    file_bytes=1000,
    target=Target(),
    latency_ms={"p50": 1.0, "p90": 2.0, "p99": 4.0},
    throughput_per_s=1000.0,
    speedup=Ratio(2.0, 1.9, 2.1),
    speedup_eager=None,
    verdict="faster",
    noise_floor=0.01,
)


def test_unknown_target_values_get_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'onnxruntime'"):
        Target(engine="onnx-runtime")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="threads is 0"):
        Target(threads=0)


@pytest.mark.parametrize(
    ("budget", "broken"),
    [
        (Budget(), {}),
        (Budget(max_metric_drop=0.01), {}),
        (Budget(max_metric_drop=0.005), {"max_metric_drop": 2.0}),
        (Budget(max_metric_drop=0.01, use_interval=True), {"max_metric_drop": 2.0}),
        (Budget(max_latency_ms=1.5), {}),
        (Budget(max_latency_ms=1.0, percentile="p99"), {"max_latency_ms": 4.0}),
        (Budget(max_file_bytes=500), {"max_file_bytes": 2.0}),
        (Budget(min_throughput_per_s=4000), {"min_throughput_per_s": 4.0}),
        (Budget(max_peak_memory_bytes=1), {}),
    ],
)
def test_budget_says_what_is_broken_and_by_how_much(budget: Budget, broken: dict[str, float]) -> None:
    assert budget.shortfalls(MEASURED) == pytest.approx(broken)
    assert budget.allows(MEASURED) is not bool(broken)


def test_a_better_metric_is_never_beyond_a_zero_drop() -> None:
    better = replace(MEASURED, quality=replace(MEASURED.quality, drop=-0.01))
    assert Budget(max_metric_drop=0.0).allows(better)


def test_budget_refuses_limits_at_or_below_zero() -> None:
    with pytest.raises(SettingError, match="max_file_bytes is 0"):
        Budget(max_file_bytes=0)
    assert BudgetError.exit_code == 3


def test_edits_are_json_and_come_back_equal() -> None:
    edit = Factorize("fc1", 24)
    assert Edit.from_json(json.loads(json.dumps(edit.to_json()))) == edit
    with pytest.raises(UnknownNameError, match="did you mean 'Factorize'"):
        Edit.from_json({"edit": "Factorise"})
    with pytest.raises(CorruptFileError, match="Factorize does not fit"):
        Edit.from_json({"edit": "Factorize", "layer": "fc1", "rank": "many"})


def test_missing_data_is_said_before_any_work() -> None:
    task = replace(image_task(), train=None)
    with pytest.raises(MissingError, match=r"step 1, finetune: needs task.train"):
        Recipe((Finetune(),)).check(task)
