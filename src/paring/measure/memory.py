"""Memory of running a file, and how soon it answers, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from paring.core.detail import MemoryUse, Timeline
from paring.core.target import Target
from paring.engines.protocol import Arrays
from paring.errors import EngineError
from paring.measure.child import Order, save_inputs

EVERY_S = 0.02


def peak_memory_bytes(path: str | Path, target: Target, inputs: Arrays) -> int:
    """Peak resident set of a fresh process that loads and runs the file, above one that only loads the engine."""
    return memory_use(path, target, inputs, seconds=0).peak_bytes


def memory_use(path: str | Path, target: Target, inputs: Arrays, *, seconds: float = 0.5) -> MemoryUse:
    """What a fresh process needs to load and run the file; it runs on for `seconds` so that the timeline shows it.

    The process is torch-free, as a serving image is, and so is the empty one it is held against. The peak holds
    weights, activations, the engine's own copies and plans; it varies by some 100 kB from run to run. Linux only.

    Raises: EngineError if the child fails, with its one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        order = Order(target, str(Path(path).resolve()), save_inputs(inputs, folder), seconds=seconds)
        seen, timeline = _watched(order)
    return MemoryUse(
        weights_bytes=weights_bytes(path),
        loaded_bytes=max(int(seen["loaded_bytes"]), 0),
        peak_bytes=max(int(seen["peak_bytes"]) - _empty(target.engine), 0),
        cold_start_ms=seen["cold_start_ms"],
        load_ms=seen["load_ms"],
        timeline=timeline,
    )


def weights_bytes(path: str | Path) -> int:
    """What the initializers of an ONNX file take at their stored types, names and structure left out."""
    import onnx

    from paring.measure.onnx_types import tensor_bytes

    graph = onnx.load(str(path), load_external_data=False).graph
    return sum(tensor_bytes(tensor) for tensor in graph.initializer)


@cache
def _empty(engine: str) -> int:
    return int(_watched(Order(Target(engine=engine)))[0]["peak_bytes"])  # type: ignore[arg-type]


def _watched(order: Order) -> tuple[dict[str, Any], Timeline]:
    """What the child said first, with its cold start, and what it looked like from outside."""
    started, clock = time.monotonic(), time.perf_counter()
    looks: list[tuple[float, int, float]] = []
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(order.command(), stdout=out, stderr=errors, stdin=subprocess.DEVNULL) as child:
            process = psutil.Process(child.pid)
            while child.poll() is None:
                looks += _look(process, time.perf_counter() - clock)
                time.sleep(EVERY_S)
        out.seek(0), errors.seek(0)
        if child.returncode != 0:
            said = errors.read().strip().splitlines() or [f"exit code {child.returncode}"]
            where = order.path or order.target.engine
            raise EngineError(f"peak memory of {where}: the process that ran it failed: {said[-1]}")
        seen: dict[str, Any] = json.loads(out.readline())
    seen["cold_start_ms"] = (seen.get("first_answer_s", started) - started) * 1e3
    return seen, _timeline(looks)


def _look(process: psutil.Process, t_s: float) -> list[tuple[float, int, float]]:
    try:
        with process.oneshot():
            used = process.cpu_times()
            return [(t_s, process.memory_info().rss, used.user + used.system)]
    except psutil.Error:  # it just ended
        return []


def _timeline(looks: list[tuple[float, int, float]]) -> Timeline:
    """Processor use of a look is what passed since the one before."""
    busy = [0.0]
    for (t0, _, cpu0), (t1, _, cpu1) in pairwise(looks):
        busy.append(round(100 * (cpu1 - cpu0) / (t1 - t0), 1))
    times = tuple(round(t, 3) for t, _, _ in looks)
    return Timeline(times, tuple(rss for _, rss, _ in looks), tuple(busy[: len(looks)]))
