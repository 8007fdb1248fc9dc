"""LoadGen's logs, planted; and one short run of each scenario, of which only counts are looked at."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from paring.errors import EngineError, SettingError, UnknownNameError
from paring.measure import loadgen
from paring.measure.loadgen import PREFIX, Load, Scenario, read_log, result_of, run_load

LATENCIES = {f"result_{p}_percentile_latency_ns": ns for p, ns in (("50.00", 1e6), ("90.00", 2e6), ("99.00", 4e6))}
PER_QUERY = {key.replace("percentile", "percentile_per_query"): 10 * ns for key, ns in LATENCIES.items()}
SAID: dict[str, dict[str, Any]] = {
    "SingleStream": {"result_query_count": 64, "result_qps_with_loadgen_overhead": 900.0},
    "MultiStream": {
        "result_query_count": 10, "generated_samples_per_query": 8, "result_mean_query_latency_ns": 2e7, **PER_QUERY,
    },
    "Offline": {"result_query_count": 1, "generated_samples_per_query": 660, "result_samples_per_second": 5000.0},
    "Server": {
        "result_query_count": 200, "result_scheduled_samples_per_sec": 110.0, "result_completed_samples_per_sec": 100.0,
    },
}  # fmt: skip
SAMPLES = {"SingleStream": 64, "MultiStream": 80, "Offline": 660, "Server": 200}
RATES = {"SingleStream": 900.0, "MultiStream": 8 / 0.02, "Offline": 5000.0, "Server": 100.0}
needs_loadgen = pytest.mark.skipif(
    importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed"
)


def log_of(scenario: Scenario, **more: Any) -> dict[str, Any]:
    return {"result_validity": "VALID", "generated_samples_per_query": 1, **LATENCIES, **SAID[scenario], **more}


@pytest.mark.parametrize("scenario", SAID)
def test_figures_of_a_log_come_under_our_names(scenario: Scenario) -> None:
    result = result_of(Load(scenario), log_of(scenario), cpu_s=1.0, seconds=2.0)
    assert (result.scenario, result.valid, result.why, result.seconds) == (scenario, True, "", 2.0)
    factor = 10 if scenario == "MultiStream" else 1  # there a query is eight samples, and its latency is what counts
    assert result.latency_ms == {"p50": factor * 1.0, "p90": factor * 2.0, "p99": factor * 4.0}
    assert result.samples_per_s == pytest.approx(RATES[scenario])
    assert result.scheduled_per_s == (110.0 if scenario == "Server" else None)
    assert result.cpu_ms_per_sample == pytest.approx(1000 / SAMPLES[scenario])


def test_a_run_that_loadgen_calls_invalid_is_not_valid_and_says_why() -> None:
    said = log_of("Server", result_validity="INVALID", result_invalid_reason="Reduce  the target\nQPS. ")
    result = result_of(Load("Server"), said, cpu_s=1.0, seconds=1.0)
    assert (result.valid, result.why) == (False, "Reduce the target QPS.")


def test_a_log_is_read_line_by_line_and_the_last_value_counts(tmp_path: Path) -> None:
    lines = [PREFIX + json.dumps({"key": "a", "value": value, "time_ms": 1}) for value in (1, 2)]
    (tmp_path / "log.txt").write_text("\n".join(["noise", lines[0], "", lines[1]]) + "\n")
    assert read_log(tmp_path / "log.txt") == {"a": 2}


def test_a_log_that_is_missing_or_ends_early_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="LoadGen left no log"):
        read_log(tmp_path / "absent.txt")
    with pytest.raises(EngineError, match="log of Offline holds no result"):
        result_of(Load("Offline"), {"generated_samples_per_query": 1}, 1.0, 1.0)


def test_settings_of_a_load_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="unknown scenario 'Sever'; did you mean 'Server'"):
        Load("Sever")  # type: ignore[arg-type]
    for name in ("qps", "limit_ms", "expected_ms", "min_duration_ms"):
        with pytest.raises(SettingError, match=f"{name} is 0; it must be above 0"):
            Load(**{name: 0})  # type: ignore[arg-type]


def test_without_loadgen_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"mlcommons-loadgen is not installed.*pip install 'paring\[load\]'"):
        run_load(Load(), lambda n: None)


# (scenario, queries at least, samples a query at least)
RUNS = [("SingleStream", 64, 1), ("MultiStream", 662, 8), ("Offline", 1, 100), ("Server", 662, 1)]


@needs_loadgen
@pytest.mark.parametrize(("scenario", "queries", "per_query"), RUNS)
def test_a_short_run_answers_every_sample_and_is_valid(scenario: Scenario, queries: int, per_query: int) -> None:
    asked: list[int] = []
    # The limit is so far off that no busy machine breaks it; a query is expected to take next to nothing.
    load = Load(scenario, qps=20_000, limit_ms=60_000, expected_ms=1e-4, min_duration_ms=5)
    result = run_load(load, asked.append, workers=1, batch_size=4)
    assert result.scenario == scenario and result.queries >= queries
    assert sum(asked) >= queries * per_query
    if scenario == "Offline":
        assert result.queries == 1 and max(asked) == 4
    else:
        assert result.valid, result.why
        assert set(asked) == {per_query} and sum(asked) == result.queries * per_query
    assert (result.scheduled_per_s is not None) == (scenario == "Server")
    assert result.samples_per_s > 0 and result.latency_ms["p50"] <= result.latency_ms["p99"]


@needs_loadgen
def test_what_an_answer_raises_is_raised_after_the_run() -> None:
    def answer(n: int) -> None:
        raise EngineError("the file does not run")

    with pytest.raises(EngineError, match="the file does not run"):
        run_load(Load("Server", qps=20_000, min_duration_ms=5), answer, workers=2)
