"""What a load test asks of LoadGen, which is replaced by a made-up one; the file's calls are real."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import paring.measure.loadtest as room
from paring.core.target import Target
from paring.engines import open_session
from paring.errors import EngineError, SettingError
from paring.measure.energy import Energy
from paring.measure.loadgen import FULL_COUNT, FULL_MS, STREAMS, Load, LoadResult
from paring.measure.loadtest import LoadPlan, batched, in_turn, load_test

SATURATION = 2000.0


class FakeLoadGen:
    """Answers each query once and makes up the result: saturated at 2,000 per s, slow beyond half of that."""

    def __init__(self) -> None:
        self.loads: list[Load] = []
        self.workers: list[int] = []

    def __call__(self, load: Load, answer: Any, *, workers: int = 1, batch_size: int = 1) -> LoadResult:
        self.loads.append(load)
        self.workers.append(workers)
        answer(batch_size)
        p99 = 1.0 if load.qps <= SATURATION / 2 else 50.0
        rate = SATURATION if load.scenario == "Offline" else load.qps
        scheduled = load.qps if load.scenario == "Server" else None
        return LoadResult(load.scenario, True, "", {"p50": 0.5, "p90": 0.8, "p99": p99}, rate, scheduled, 10, 0.5, 1.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeLoadGen:
    made = FakeLoadGen()
    monkeypatch.setattr(room, "run_load", made)
    monkeypatch.setattr(room, "warm_up", lambda call, **how: (call(), 1e6)[1])  # a call is said to take 1 ms
    monkeypatch.setattr(room, "energy_of", lambda work: (work(), Energy(3.0))[1])
    return made


def test_every_scenario_runs_once_and_offline_gives_saturation_energy_and_cost(
    fake: FakeLoadGen, linear_file: Path
) -> None:
    report = load_test(linear_file, Target(batch_size=4), LoadPlan(price_per_core_hour=0.36))
    assert [result.scenario for result in report.results] == ["SingleStream", "MultiStream", "Offline", "Server"]
    assert [load.scenario for load in fake.loads] == ["Offline", "SingleStream", "MultiStream", "Server"]
    assert (report.saturation_per_s, report.energy) == (SATURATION, Energy(3.0))
    assert report.cost_per_million == pytest.approx(0.5e-3 * 1e6 / 3600 * 0.36)
    assert (report.highest, report.rungs) == (None, ())


def test_loadgen_is_told_more_than_a_warm_call_promises_so_that_no_run_ends_early(
    fake: FakeLoadGen, linear_file: Path
) -> None:
    load_test(linear_file, Target(batch_size=4), LoadPlan(workers=2))
    by_name = {load.scenario: load for load in fake.loads}
    assert by_name["Offline"].qps > 2 * 4 * 1000  # two workers, four rows a call of 1 ms
    assert by_name["SingleStream"].expected_ms < 1 and by_name["MultiStream"].expected_ms < 1
    assert by_name["Server"].qps == SATURATION / 2
    assert fake.workers == [2, 2, 1, 2]


def test_a_limit_asks_for_the_highest_rate_and_a_ladder_for_its_rungs(fake: FakeLoadGen, linear_file: Path) -> None:
    plan = LoadPlan(scenarios=("Server",), limit_ms=5.0, rungs=True, duration_ms=500)
    report = load_test(linear_file, Target(), plan)
    assert report.highest is not None and report.highest.per_s is not None
    assert 0.9 * SATURATION / 2 < report.highest.per_s <= SATURATION / 2
    assert [share for share, _ in report.rungs][-1] == 2.0
    rung = fake.loads[-1]
    assert (rung.scenario, rung.qps, rung.count) == ("Server", 2 * SATURATION, int(2 * SATURATION * 0.5))
    assert (rung.limit_ms, rung.min_duration_ms) == (5.0, 500)


def test_full_runs_have_mlperf_s_sizes_and_edge_its_cap(fake: FakeLoadGen, linear_file: Path) -> None:
    report = load_test(linear_file, Target(), LoadPlan(full=True, edge_bytes=512_000_000))
    for load in fake.loads:
        assert (load.min_duration_ms, load.count) == (FULL_MS, FULL_COUNT[load.scenario])
    assert "MLPerf's full sizes" in report.notes[0]
    assert "one core, at most 512 MB" in report.notes[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limit_ms": 0.0}, "limit_ms is 0.0; it must be above 0"),
        ({"edge_bytes": -1}, "edge_bytes is -1"),
        ({"workers": 0}, "workers is 0"),
        ({"duration_ms": 0}, "duration_ms is 0"),
        ({"price_per_core_hour": -0.1}, "price_per_core_hour is -0.1; it must not be below 0"),
    ],
)
def test_a_plan_is_checked_before_anything_runs(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        LoadPlan(**settings)


def test_a_file_that_cannot_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no such file"):
        load_test(tmp_path / "absent.onnx", Target(), LoadPlan())


TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
sums (float[{batch}, 2] x, float[2] offset) => (float[{batch}, 2] y) {{ y = Add(x, offset) }}
"""


def saved(path: Path, batch: str) -> Path:
    onnx.save(onnx.parser.parse_model(TEXT.format(batch=batch)), path)
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_only_inputs_with_a_free_first_dimension_are_repeated(engine: str, tmp_path: Path) -> None:
    session = open_session(saved(tmp_path / "free.onnx", "batch"), Target(engine=engine))
    arrays = {"x": np.array([[1, 2], [3, 4]], np.float32), "offset": np.array([5, 6], np.float32)}
    rows, times = batched(session, arrays, 3)
    assert times == 1
    np.testing.assert_array_equal(rows["x"], [[1, 2]] * 3)
    np.testing.assert_array_equal(rows["offset"], [5, 6])
    np.testing.assert_array_equal(session.run(rows)[0], [[6, 8]] * 3)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_of_a_fixed_batch_answers_a_larger_query_call_by_call(
    engine: str, tmp_path: Path, fake: FakeLoadGen
) -> None:
    path = saved(tmp_path / "fixed.onnx", "1")
    target = Target(engine=engine, static_shapes=engine == "openvino")
    arrays = {"x": np.ones((1, 2), np.float32), "offset": np.ones(2, np.float32)}
    assert batched(open_session(path, target), arrays, STREAMS)[1] == STREAMS
    report = load_test(path, target, LoadPlan(scenarios=("MultiStream",)))
    assert [result.scenario for result in report.results] == ["MultiStream"]


def test_a_prepared_call_runs_in_one_thread_at_a_time_run_after_run() -> None:
    running, clashes = [0, 0], []
    meet = threading.Barrier(2, timeout=10)

    def made(index: int) -> Any:
        def call() -> None:
            running[index] += 1
            meet.wait()  # both threads are inside a call now
            if running[index] > 1:
                clashes.append(index)
            meet.wait()
            running[index] -= 1

        return call

    call = in_turn([made(0), made(1)])
    for _ in range(3):  # LoadGen's worker threads are new in every run
        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert clashes == [] and running == [0, 0]
