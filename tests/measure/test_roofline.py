"""The floor of a two-layer net on planted peaks, by hand, and how peaks are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import paring.measure.bandwidth as bandwidth_room
import paring.measure.peaks as peaks_room
from paring.core.target import Target
from paring.engines import open_session, precisions
from paring.errors import CorruptFileError, EngineError
from paring.measure.bandwidth import MEMORY, USUAL, Level, bandwidths, cache_sizes
from paring.measure.kernels import write_convolution, write_nothing, write_product
from paring.measure.peaks import Peaks, keep_peaks, known_peaks, machine_peaks, measure_peaks, peaks_file
from paring.measure.roofline import floor_of, roofline
from tests.kernels import kernels_of
from tests.measure.graphs import graph, mlp, quantized_mlp

# A machine slow enough to count on fingers: products per second, and bytes per second from 100 bytes and from beyond.
PEAKS = Peaks(
    threads=1,
    macs_per_s={"fp32": 1000.0, "bf16": 4000.0, "int8": 8000.0},
    levels=(Level("L1", 100, 800.0), Level("L2", 400, 400.0), Level(MEMORY, 0, 100.0)),
    overhead_s={"onnxruntime": 0.25},
    kernels={"fp32": "a product", "bf16": "a product", "int8": "a product"},
)
SHAPES = {"x": (2, 4)}


def test_the_floor_of_a_small_net_by_hand() -> None:
    floor = floor_of(mlp(), Target(), SHAPES, 2000.0, PEAKS, {"h": "fc1"})
    first, second = floor.ops
    # 268 bytes of weights in all come from L2. 64 products and 160 + 96 bytes; 48 products and 108 + 88 bytes.
    assert (first.compute_ms, second.compute_ms) == (pytest.approx(64.0), pytest.approx(48.0))
    assert first.memory_ms == pytest.approx(1e3 * (160 / 400 + 96 / 800))
    assert second.memory_ms == pytest.approx(1e3 * (108 / 400 + 88 / 800))
    assert (first.bound, second.bound) == ("memory", "memory")
    assert (first.macs, first.bytes, first.module, second.module) == (64, 256, "fc1", "fc2")
    assert floor.overhead_ms == 250
    assert floor.floor_ms == pytest.approx(520 + 380 + 250)
    assert floor.multiple == pytest.approx(2000 / 1150)


def test_where_products_are_slow_they_bind() -> None:
    slow = replace(PEAKS, macs_per_s={"fp32": 10.0})
    floor = floor_of(mlp(), Target(), SHAPES, 1.0, slow)
    assert [op.bound for op in floor.ops] == ["compute", "compute"]
    assert floor.floor_ms == pytest.approx(1e3 * (64 + 48) / 10 + 250)


def test_bf16_halves_bytes_and_has_its_own_peak_and_an_engine_without_overhead_none() -> None:
    floor = floor_of(mlp(), Target("openvino", "bf16"), SHAPES, 1.0, PEAKS)
    first = floor.ops[0]
    assert first.compute_ms == pytest.approx(16.0)  # 64 at 4,000 a second
    assert first.memory_ms == pytest.approx(1e3 * (80 / 400 + 48 / 800))  # 134 bytes of weights still need L2
    assert floor.overhead_ms == 0


def test_int8_has_its_own_peak_and_a_quarter_of_the_weights() -> None:
    floor = floor_of(quantized_mlp(), Target(), SHAPES, 1.0, PEAKS)
    assert [op.compute_ms for op in floor.ops] == [pytest.approx(8.0), pytest.approx(6.0)]
    assert floor.ops[0].memory_ms == pytest.approx(1e3 * (32 / 800 + 24 / 800))  # 56 bytes of weights fit into L1


def test_a_shared_weight_is_read_twice_and_lies_in_the_cache_once() -> None:
    twice = graph("g (float[n, 8] x) => (float[n, 8] y) { h = MatMul(x, W)  y = MatMul(h, W) }", W=((8, 8), np.float32))
    floor = floor_of(twice, Target(), {"x": (1, 8)}, 1.0, PEAKS)
    assert [op.memory_ms for op in floor.ops] == 2 * [pytest.approx(1e3 * (256 / 400 + 64 / 800))]


def test_a_type_nobody_measured_is_held_against_the_fastest() -> None:
    floor = floor_of(mlp(), Target("openvino", "fp16"), SHAPES, 1.0, PEAKS)
    assert floor.ops[0].compute_ms == pytest.approx(1e3 * 64 / 8000)


def test_a_file_is_read_and_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    onnx.save(mlp(), tmp_path / "mlp.onnx")
    assert roofline(tmp_path / "mlp.onnx", Target(), SHAPES, 2000.0, PEAKS) == floor_of(
        mlp(), Target(), SHAPES, 2000.0, PEAKS
    )
    with pytest.raises(EngineError, match=r"input 'x' is \(2, 4, 4\)"):
        roofline(tmp_path / "mlp.onnx", Target(), {"x": (2, 4, 4)}, 1.0, PEAKS)
    (tmp_path / "bad.onnx").write_text("no onnx")
    with pytest.raises(CorruptFileError, match=r"bad\.onnx: it is no sound ONNX file"):
        roofline(tmp_path / "bad.onnx", Target(), SHAPES, 1.0, PEAKS)


@pytest.mark.parametrize(("size", "level"), [(0, "L1"), (100, "L1"), (101, "L2"), (400, "L2"), (401, MEMORY)])
def test_bytes_lie_in_the_nearest_level_that_holds_them(size: int, level: str) -> None:
    assert PEAKS.level_of(size).name == level


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "paring"


def test_peaks_are_kept_by_processor_and_threads_and_only_get_better(cache: Path) -> None:
    assert known_peaks(1) is None
    assert keep_peaks(PEAKS) == PEAKS == known_peaks(1) == machine_peaks(1)
    assert known_peaks(2) is None and peaks_file(2) != peaks_file(1)
    disturbed = replace(
        PEAKS,
        macs_per_s={"fp32": 500.0, "int8": 9000.0},
        levels=(Level("L1", 100, 900.0), Level("L2", 400, 100.0), Level(MEMORY, 0, 50.0)),
        overhead_s={"onnxruntime": 0.5, "openvino": 0.1},
        kernels={"fp32": "a convolution", "int8": "a convolution"},
    )
    best = keep_peaks(disturbed)
    assert best.macs_per_s == {"fp32": 1000.0, "bf16": 4000.0, "int8": 9000.0}
    assert best.kernels == {"fp32": "a product", "bf16": "a product", "int8": "a convolution"}
    assert [level.bytes_per_s for level in best.levels] == [900.0, 400.0, 100.0]
    assert best.overhead_s == {"onnxruntime": 0.25, "openvino": 0.1}
    assert known_peaks(1) == best
    assert [path.suffix for path in cache.iterdir()] == [".json"]


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", '{"format": 0}', '{"format": 1, "threads": 1}'])
def test_peaks_that_cannot_be_read_are_measured_anew(cache: Path, text: str) -> None:
    keep_peaks(PEAKS)
    peaks_file(1).write_text(text)
    assert known_peaks(1) is None
    assert keep_peaks(PEAKS) == known_peaks(1)


def test_peaks_of_another_cache_layout_are_replaced(cache: Path) -> None:
    keep_peaks(PEAKS)
    fewer = replace(PEAKS, levels=PEAKS.levels[1:], macs_per_s={"fp32": 1.0}, kernels={"fp32": "a product"})
    assert keep_peaks(fewer) == fewer == known_peaks(1)


def test_measuring_finds_a_rate_for_each_type_and_a_cost_for_each_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks_room, "PRODUCTS", ((16, 16, 16),))
    monkeypatch.setattr(peaks_room, "CONVOLUTIONS", ((1, 16, 4),))
    monkeypatch.setattr(peaks_room, "KIND_S", 0.001)
    monkeypatch.setattr(peaks_room, "bandwidths", lambda threads: PEAKS.levels)
    told: list[str] = []
    seen = measure_peaks(1, report=told.append)
    assert seen.macs_per_s.keys() == seen.kernels.keys() == {*precisions("openvino"), "int8"}
    assert all(rate > 0 for rate in seen.macs_per_s.values())
    assert seen.overhead_s.keys() == {"onnxruntime", "openvino"}
    assert told[-1] == "bandwidth" and "a call into openvino" in told


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_kernels_compute_what_they_say(tmp_path: Path, kind: Any) -> None:
    product = write_product(tmp_path / "product.onnx", 8, 16, 32, kind)
    convolution = write_convolution(tmp_path / "convolution.onnx", 2, 16, 5, kind)
    assert (product.macs, convolution.macs) == (8 * 16 * 32, 2 * 25 * 16 * 16 * 9)
    for path, kernel, shape in (("product", product, (8, 32)), ("convolution", convolution, (2, 16, 5, 5))):
        for engine in ("onnxruntime", "openvino"):
            (y,) = open_session(tmp_path / f"{path}.onnx", Target(engine)).run({"x": kernel.x})
            assert y.shape == shape and y.dtype == kernel.x.dtype
    if kind == "fp32":
        weight = onnx.numpy_helper.to_array(onnx.load(tmp_path / "product.onnx").graph.initializer[0])
        (y,) = open_session(tmp_path / "product.onnx", Target()).run({"x": product.x})
        np.testing.assert_allclose(y, product.x @ weight, rtol=1e-5)


def test_integer_kernels_run_as_integers(tmp_path: Path) -> None:
    write_product(tmp_path / "product.onnx", 8, 16, 32, "int8")
    assert kernels_of(tmp_path / "product.onnx", tmp_path) == {"QLinearMatMul": 1}


def test_the_smallest_file_passes_its_number_on(tmp_path: Path) -> None:
    x = write_nothing(tmp_path / "nothing.onnx")
    assert open_session(tmp_path / "nothing.onnx", Target()).run({"x": x})[0].tolist() == [[1.0]]


def plant(folder: Path, *caches: tuple[str, str, str]) -> Path:
    for index, entry in enumerate(caches):
        place = folder / f"index{index}"
        place.mkdir()
        for name, text in zip(("level", "type", "size"), entry, strict=True):
            (place / name).write_text(text + "\n")
    return folder


def test_cache_sizes_are_those_of_data_caches(tmp_path: Path) -> None:
    folder = plant(
        tmp_path, ("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M"), ("3", "Unified", "105M")
    )
    assert cache_sizes(folder) == {"L1": 48 << 10, "L2": 2 << 20, "L3": 105 << 20}


def test_a_system_that_does_not_say_gets_usual_sizes(tmp_path: Path) -> None:
    assert cache_sizes(tmp_path / "absent") == USUAL
    assert cache_sizes(plant(tmp_path, ("1", "Data", ""), ("2", "Unified", "many"))) == USUAL


def planted_rate(monkeypatch: pytest.MonkeyPatch, call_s: float, rate: Any) -> None:
    """Reading an array takes `call_s` and its bytes over `rate(bytes)`."""
    monkeypatch.setattr(
        bandwidth_room, "_seconds", lambda array, threads, attempts: call_s + array.nbytes / rate(array.nbytes)
    )
    monkeypatch.setattr(bandwidth_room, "cache_sizes", lambda: {"L1": 1 << 10, "L2": 1 << 14, "L3": 1 << 18})


def test_what_a_call_costs_drops_out_of_a_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    planted_rate(monkeypatch, 1e-3, lambda size: 1e9 if size < 1 << 10 else 1e8 if size < 1 << 14 else 1e7)
    levels = bandwidths(1)
    assert [level.name for level in levels] == ["L1", "L2", "L3", MEMORY]
    assert [level.bytes_per_s for level in levels] == pytest.approx([1e9, 1e8, 1e7, 1e7], rel=1e-6)
    assert levels[-1].size_bytes == 0


def test_cores_have_their_own_near_caches_and_share_the_far_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    planted_rate(monkeypatch, 0.0, lambda size: 1e8)
    assert [level.bytes_per_s for level in bandwidths(2)] == pytest.approx([2e8, 2e8, 2e8, 2e8])


def test_no_level_is_slower_than_one_further_away(monkeypatch: pytest.MonkeyPatch) -> None:
    planted_rate(monkeypatch, 0.0, lambda size: 1e7 if size < 1 << 10 else 1e8)  # L1 was disturbed
    assert [level.bytes_per_s for level in bandwidths(1)] == pytest.approx([1e8, 1e8, 1e8, 1e8])
