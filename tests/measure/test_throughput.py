"""Several processes side by side: counts and cores, never rates."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paring.measure.throughput as room
from paring.core.target import Target
from paring.errors import EngineError, SettingError
from paring.measure.child import Order, save_inputs
from paring.measure.throughput import cores_of, pool_throughput

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="children read /proc")


@pytest.mark.parametrize(
    ("place", "threads", "expected"),
    [(0, 1, (4,)), (1, 1, (5,)), (3, 1, (4,)), (0, 2, (4, 5)), (1, 2, (4, 6)), (0, 5, (4, 5, 6))],
)
def test_each_process_gets_the_next_cores_beginning_anew(place: int, threads: int, expected: tuple[int, ...]) -> None:
    assert cores_of(place, threads, (4, 5, 6)) == expected


def test_rates_of_all_processes_add_up(monkeypatch: pytest.MonkeyPatch, linear_file: Path, x: np.ndarray) -> None:
    orders: list[Order] = []

    def counted(given: list[Order]) -> list[dict[str, float]]:
        orders.extend(given)
        return [{"count": 100, "wall_s": 2.0, "cpu_s": 1.0}, {"count": 300, "wall_s": 2.0, "cpu_s": 2.0}]

    monkeypatch.setattr(room, "_run_together", counted)
    seen = pool_throughput(linear_file, Target(batch_size=4), {"x": x[:4]}, 2, seconds=2.0)
    assert (seen.processes, seen.batch_size, seen.threads) == (2, 4, 1)
    assert seen.per_s == pytest.approx((50 + 150) * 4)
    assert seen.cpu_ms_per_example == pytest.approx(3000 / (400 * 4))
    assert [(order.seconds, order.wait, Path(str(order.path)).is_absolute()) for order in orders] == 2 * [
        (2.0, True, True)
    ]


@linux_only
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_processes_really_run_the_file(engine: str, linear_file: Path, x: np.ndarray) -> None:
    seen = pool_throughput(linear_file, Target(engine=engine), {"x": x[:1]}, 2, seconds=0.01)
    assert seen.processes == 2 and seen.per_s > 0 and seen.cpu_ms_per_example >= 0


@linux_only
def test_a_process_that_fails_is_told_in_its_own_words(linear_file: Path, x: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"throughput of .*: the process that ran it failed: .*it has no input 'z'"):
        pool_throughput(linear_file, Target(), {"z": x}, 1, seconds=0.01)
    with pytest.raises(SettingError, match="processes is 0; it must be at least 1"):
        pool_throughput(linear_file, Target(), {"x": x}, 0)


def test_a_process_that_dies_after_the_start_is_one_line_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "import sys; print('{}', flush=True); sys.stdin.readline(); sys.exit('killed')"
    monkeypatch.setattr(Order, "command", lambda self: [sys.executable, "-c", code])
    with pytest.raises(EngineError, match=r"throughput of a\.onnx: the process that ran it failed: killed"):
        room._run_together([Order(Target(), "a.onnx")])


def carried_out(order: Order) -> list[dict[str, Any]]:
    done = subprocess.run(order.command(), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@linux_only
def test_a_child_says_what_an_order_asks_for(linear_file: Path, x: np.ndarray, tmp_path: Path) -> None:
    (empty,) = carried_out(Order(Target()))
    assert empty.keys() == {"empty_bytes", "peak_bytes"} and 0 < empty["empty_bytes"] <= empty["peak_bytes"]
    order = Order(Target(), str(linear_file), save_inputs({"x": x}, tmp_path))
    (answered,) = carried_out(order)
    assert answered.keys() == {"empty_bytes", "load_ms", "loaded_bytes", "first_answer_s", "peak_bytes"}
    answered, ran = carried_out(replace(order, seconds=0.001))
    assert ran.keys() == {"count", "wall_s", "cpu_s"} and ran["count"] >= 1
