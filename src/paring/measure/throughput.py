"""How many examples a second several processes answer side by side, each with the file open for itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from paring.core.detail import Throughput
from paring.core.target import Target
from paring.engines import usable_cores
from paring.engines.protocol import Arrays
from paring.errors import EngineError, SettingError
from paring.measure.child import Order, save_inputs


def pool_throughput(
    path: str | Path, target: Target, inputs: Arrays, processes: int, *, seconds: float = 1.0
) -> Throughput:
    """Throughput of `processes` fresh processes on cores of their own, as far as there are enough.

    All open the file and warm up first, then start together; each counts its calls for `seconds`.
    Raises: SettingError for no process, EngineError in the words of the process that failed.
    """
    if processes < 1:
        raise SettingError(f"throughput: processes is {processes}; it must be at least 1.")
    with tempfile.TemporaryDirectory() as folder:
        held = save_inputs(inputs, folder)
        orders = [
            Order(target, str(Path(path).resolve()), held, 3, seconds, cores_of(place, target.threads), wait=True)
            for place in range(processes)
        ]
        counted = _run_together(orders)
    per_s = sum(seen["count"] / seen["wall_s"] for seen in counted) * target.batch_size
    examples = sum(seen["count"] for seen in counted) * target.batch_size
    cpu_ms = float(np.sum([seen["cpu_s"] for seen in counted])) * 1e3 / max(examples, 1)
    return Throughput(target.batch_size, target.threads, processes, per_s, cpu_ms)


def cores_of(place: int, threads: int, cores: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The cores of process number `place`: the next `threads` ones, beginning anew where they run out."""
    usable = usable_cores() if cores is None else cores
    return tuple(sorted({usable[(place * threads + index) % len(usable)] for index in range(threads)}))


def _run_together(orders: list[Order]) -> list[dict[str, float]]:
    pipe = subprocess.PIPE
    children = [subprocess.Popen(order.command(), stdin=pipe, stdout=pipe, stderr=pipe, text=True) for order in orders]
    try:
        for child in children:  # each says one line when it is ready
            assert child.stdout is not None
            if not child.stdout.readline():
                raise _failure(orders[0], child)
        for child in children:
            assert child.stdin is not None
            with suppress(BrokenPipeError):  # it died meanwhile, which its answer tells
                child.stdin.write("go\n")
                child.stdin.flush()
        return [_counted(order, child) for order, child in zip(orders, children, strict=True)]
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _counted(order: Order, child: subprocess.Popen[str]) -> dict[str, float]:
    try:
        counted: dict[str, float] = json.loads(child.communicate()[0])
    except ValueError:  # it said nothing, or half a line
        raise _failure(order, child) from None
    return counted


def _failure(order: Order, child: subprocess.Popen[str]) -> EngineError:
    said = child.communicate()[1].strip().splitlines() or [f"exit code {child.wait()}"]
    return EngineError(f"throughput of {order.path}: the process that ran it failed: {said[-1]}")
