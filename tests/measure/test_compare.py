"""Files compared on made-up engines, whose calls cost what a table says on faked clocks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paring.measure.compare as room
from paring.core.target import Target
from paring.engines.protocol import Arrays, InputSpec
from paring.errors import CorruptFileError, EngineError, SettingError
from paring.measure.compare import Comparison, compare_files
from tests.measure.fake_time import FakeTime

FAST, SLOW = Target("openvino"), Target("onnxruntime")


@dataclass(frozen=True)
class FakeSession:
    """Costs what the table says of its file on its engine."""

    fake: FakeTime
    path: Path
    target: Target
    us: float

    inputs = (InputSpec("x", (None, 4), np.dtype(np.float32)),)
    input_names = ("x",)

    def prepare(self, inputs: Arrays) -> Any:
        assert inputs["x"].shape == (self.target.batch_size, 4)
        return self.fake.runner(f"{self.path.name} {self.target}", self.us)


Costs = Mapping[tuple[str, str], float | list[float]]


class World:
    """Files a.onnx, b.onnx, c.onnx, engines that open them, and clocks."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, costs: Costs) -> None:
        self.fake = FakeTime()
        self.costs = {key: itertools.cycle(cost if isinstance(cost, list) else [cost]) for key, cost in costs.items()}
        self.paths = [folder / name for name in ("a.onnx", "b.onnx", "c.onnx")]
        for path in self.paths:
            path.write_bytes(b"a file")
        monkeypatch.setattr(room, "open_session", self.open)
        monkeypatch.setattr(room, "canary", lambda: self.fake.runner("canary", 50))

    def open(self, path: Path, target: Target, **options: Any) -> FakeSession:
        key = path.name[0], target.engine
        if key not in self.costs:
            raise EngineError(f"{path}: {target.engine} does not know it.")
        return FakeSession(self.fake, path, target, next(self.costs[key]))

    def compare(self, count: int = 2, targets: tuple[Target, ...] = (SLOW,), **options: Any) -> list[Comparison]:
        settings = {"blocks": 24, "min_block_ms": 2, "clocks": self.fake.clocks} | options
        return list(compare_files(self.paths[:count], targets, **settings))


ORT = {("a", "onnxruntime"): 300.0, ("b", "onnxruntime"): 300.0, ("c", "onnxruntime"): 330.0}


def test_a_file_against_itself_is_indistinguishable_and_one_ten_percent_slower_is_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (result,) = World(tmp_path, monkeypatch, ORT).compare(3)
    assert [row.verdict for row in result.rows] == ["baseline", "indistinguishable", "slower"]
    assert result.rows[0].ratio.ratio == 1
    assert result.rows[2].ratio.ratio == pytest.approx(1 / 1.1, rel=0.02)
    assert 0 < result.rows[0].noise_floor < 0.03
    assert result.refused == {} and result.steady


def test_speed_that_changes_with_every_opening_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = ORT | {("b", "onnxruntime"): [200.0, 200.0, 320.0, 200.0, 200.0]}
    (result,) = World(tmp_path, monkeypatch, costs).compare(2)
    assert result.rows[1].ratio.ratio > 1.2
    assert result.rows[1].verdict == "indistinguishable"


def test_each_file_is_also_compared_on_its_own_best_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {**ORT, ("b", "onnxruntime"): 200.0, ("a", "openvino"): 150.0, ("b", "openvino"): 400.0}
    (result,) = World(tmp_path, monkeypatch, costs).compare(2, (SLOW, FAST))
    assert [(row.place, row.target.engine) for row in result.rows] == [
        (0, "onnxruntime"), (1, "onnxruntime"), (0, "openvino"), (1, "openvino"),
    ]  # fmt: skip
    assert [row.verdict for row in result.rows] == ["baseline", "faster", "baseline", "slower"]
    base, other = result.best
    assert (base.target, other.target) == (FAST, SLOW)
    assert other.ratio.ratio == pytest.approx(150 / 200, rel=0.02) and other.verdict == "slower"


def test_every_number_of_threads_and_every_batch_has_a_comparison_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = tuple(Target(threads=threads, batch_size=batch) for threads in (1, 2) for batch in (1, 8))
    results = World(tmp_path, monkeypatch, ORT).compare(2, targets)
    assert [(one.threads, one.batch_size) for one in results] == [(1, 1), (1, 8), (2, 1), (2, 8)]
    for one in results:
        row = one.rows[0]
        assert row.throughput_per_s == pytest.approx(one.batch_size * 1e3 / row.latency_ms["p50"], rel=0.02)
        assert one.samples.threads == one.threads


def test_a_file_that_one_engine_refuses_is_listed_and_the_rest_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {**ORT, ("a", "openvino"): 300.0, ("c", "openvino"): 100.0}
    (result,) = World(tmp_path, monkeypatch, costs).compare(3, (SLOW, FAST))
    assert list(result.refused) == ["b.onnx on openvino fp32"]
    assert [(row.place, row.target.engine) for row in result.rows if row.target == FAST] == [
        (0, "openvino"), (2, "openvino"),
    ]  # fmt: skip
    assert result.best[2].verdict == "faster"


def test_where_the_base_does_not_run_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {**ORT, ("b", "openvino"): 100.0}
    (result,) = World(tmp_path, monkeypatch, costs).compare(2, (SLOW, FAST))
    assert {row.target for row in result.rows} == {SLOW}
    assert list(result.refused) == ["a.onnx on openvino fp32"]


@pytest.mark.parametrize("known", [{}, {("b", "onnxruntime"): 100.0}, {("a", "onnxruntime"): 100.0}])
def test_nothing_to_compare_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[tuple[str, str], float]
) -> None:
    world = World(tmp_path, monkeypatch, known)
    with pytest.raises(EngineError, match=r"\.onnx: onnxruntime does not know it"):
        world.compare(2)


def test_files_are_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, ORT)
    with pytest.raises(SettingError, match="it takes two files or more, and got 1"):
        world.compare(1)
    world.paths[2].write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"c\.onnx: the file is empty"):
        world.compare(3)
    world.paths[2].unlink()
    with pytest.raises(EngineError, match=r"c\.onnx: there is no such file"):
        world.compare(3)
    assert world.fake.calls == []


def test_a_machine_that_slows_down_is_told_and_ratios_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, ORT)
    turn = itertools.count()

    def slow_later() -> Any:  # from the second of two lives on everything takes half as long again
        late = next(turn) >= 1
        world.costs = {key: itertools.cycle([(1.5 if late else 1.0) * ORT[key]]) for key in ORT}
        return world.fake.runner("canary", 75 if late else 50)

    monkeypatch.setattr(room, "canary", slow_later)
    (result,) = world.compare(2, lives=2)
    assert result.drift == pytest.approx(0.5, abs=0.05) and not result.steady


def test_without_a_gpu_it_says_not_measured(linear_file: Path) -> None:
    targets = [Target(device="cuda"), Target("openvino", device="cuda")]
    with pytest.raises(EngineError, match="not measured: no GPU"):
        list(compare_files([linear_file, linear_file], targets, blocks=4, min_block_ms=0.1))


def test_real_files_in_real_engines(linear_file: Path, x: np.ndarray) -> None:
    targets = [Target("onnxruntime"), Target("openvino", static_shapes=True), Target(device="cuda")]
    inputs = {"x": x[:1]}
    (result,) = compare_files(
        [linear_file, linear_file], targets, inputs_for=lambda session, size: inputs, blocks=4, min_block_ms=0.2
    )
    assert {str(row.target) for row in result.rows} == {"onnxruntime fp32", "openvino fp32"}
    assert all("not measured: no GPU" in why for why in result.refused.values()) and len(result.refused) == 1
    assert result.inputs[linear_file] is inputs and result.samples.lives == 2
