"""What stands behind the figures: the floor on planted peaks, processes side by side, drift; and a file by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import paring.judge.evidence as room
from paring.core.detail import Throughput
from paring.core.target import Target
from paring.engines.protocol import Arrays
from paring.errors import CorruptFileError, EngineError
from paring.judge.bench import Bench
from paring.judge.evidence import evidence, file_floor
from paring.judge.file import measure_file
from paring.measure.bandwidth import Level
from paring.measure.canary import CANARY
from paring.measure.peaks import Peaks, keep_peaks
from paring.measure.samples import Samples
from tests.measure.graphs import mlp
from tests.runs import SHORT

PEAKS = Peaks(1, {"fp32": 1e3}, (Level("L1", 1000, 1e9), Level("memory", 0, 1e9)), {"onnxruntime": 0.01}, {"fp32": "x"})
X = {"x": np.ones((2, 4), np.float32)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(mlp(), tmp_path / "mlp.onnx")
    return tmp_path / "mlp.onnx"


def test_the_floor_is_there_once_peaks_are_known_and_none_before(file: Path) -> None:
    assert file_floor(file, Target(), X, 244.0) is None
    keep_peaks(PEAKS)
    floor = file_floor(file, Target(), X, 244.0)
    assert floor is not None  # 112 products at 1,000 a second, and 10 ms for the call
    assert floor.floor_ms == pytest.approx(112 + 10) and floor.multiple == pytest.approx(2)
    assert file_floor(file, Target(threads=2), X, 244.0) is None  # peaks of another number of threads
    assert file_floor(file, Target(device="cuda"), X, 244.0) is None
    assert file_floor(file, Target(), {"x": np.ones((2, 5), np.float32)}, 244.0) is None


def samples(target: Target) -> Samples:
    wall = {str(target): np.full((8, 2), 4_000_000), CANARY: np.array([[50], [50], [60], [60]]).repeat(2, 0)}
    return Samples(wall, {name: np.full(8, 2_000_000.0) for name in wall})


def test_throughput_of_one_and_of_several_processes_memory_and_drift(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pooled(path: Path, target: Target, inputs: Arrays, processes: int) -> Throughput:
        return Throughput(target.batch_size, target.threads, processes, 100.0 * processes, 1.0)

    monkeypatch.setattr(room, "pool_throughput", pooled)
    target = Target(batch_size=2)
    seen = evidence(file, target, X, samples(target), Bench(batch_size=2, processes=(1, 2, 4)))
    assert [entry.processes for entry in seen.throughput] == [1, 2, 4]
    alone = seen.throughput[0]
    assert alone.per_s == pytest.approx(2 / 0.004) and alone.cpu_ms_per_example == pytest.approx(1.0)
    assert seen.drift == pytest.approx(0.2) and seen.floor is None
    memory = seen.memory
    assert memory.weights_bytes == 4 * (32 + 8 + 24 + 3)
    assert memory.cold_start_ms > memory.load_ms > 0 and memory.peak_bytes >= 0
    line = memory.timeline
    assert len(line.t_s) == len(line.rss_bytes) == len(line.cpu_percent) > 1
    assert list(line.t_s) == sorted(line.t_s) and line.cpu_percent[0] == 0


def test_without_a_canary_nothing_is_said_of_drift(file: Path) -> None:
    timed = samples(Target())
    bare = Samples({str(Target()): timed.wall_ns[str(Target())]}, timed.cpu_ns)
    assert evidence(file, Target(), X, bare, SHORT).drift is None


def test_a_file_by_itself_has_a_row_for_each_target_and_a_floor(file: Path) -> None:
    keep_peaks(PEAKS)
    told = measure_file(file, replace(SHORT, batch_size=2))
    (row,) = told["targets"]
    assert (told["file_bytes"], told["inputs"], told["refused"]) == (file.stat().st_size, ["x"], {})
    assert (row["engine"], row["precision"], row["batch_size"]) == ("onnxruntime", "fp32", 2)
    assert row["roofline"]["floor_ms"] == pytest.approx(122)
    assert row["throughput_per_s"] == pytest.approx(row["throughput"][0]["per_s"])
    assert told["drift"] >= 0


def test_an_engine_that_refuses_a_file_is_listed_and_all_refusing_is_one_line(tmp_path: Path) -> None:
    text = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\ng (float[n, 4] x) => (float[n, 4] y) '
    onnx.save(onnx.parser.parse_model(text + "{ y = com.microsoft.QuickGelu(x) }"), tmp_path / "own.onnx")
    onnx.save(onnx.parser.parse_model(text + "{ y = Frobnicate(x) }"), tmp_path / "odd.onnx")
    told = measure_file(tmp_path / "own.onnx", replace(SHORT, engines=("onnxruntime", "openvino")))
    assert {row["engine"] for row in told["targets"]} >= {"onnxruntime"}
    assert all(name.startswith("openvino") for name in told["refused"])
    assert len(told["targets"]) + len(told["refused"]) == len(
        replace(SHORT, engines=("onnxruntime", "openvino")).targets()
    )
    with pytest.raises(EngineError, match="Frobnicate"):
        measure_file(tmp_path / "odd.onnx", SHORT)
    (tmp_path / "bad.onnx").write_text("no onnx")
    with pytest.raises(CorruptFileError, match="it is no sound ONNX file"):
        measure_file(tmp_path / "bad.onnx", SHORT)


def test_a_device_that_no_engine_finds_is_told_before_any_work() -> None:
    if "cuda" in room_devices():
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineError, match="not measured: no GPU: onnxruntime finds none for device 'cuda' here"):
        replace(SHORT, device="cuda").targets()


def room_devices() -> tuple[str, ...]:
    from paring.engines import devices

    assert devices("openvino") == devices("torch") == ("cpu",)
    return devices("onnxruntime")
