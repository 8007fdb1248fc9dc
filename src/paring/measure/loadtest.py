"""A file under load: scenarios, the highest rate inside a latency limit, and what happens beyond saturation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import get_args

import numpy as np

from paring.core.target import Target
from paring.engines import open_session
from paring.engines.inputs import free_inputs
from paring.engines.protocol import Arrays, FileSession, Shapes
from paring.errors import SettingError
from paring.measure.edge import edge
from paring.measure.energy import Energy, cost_per_million, energy_of
from paring.measure.ladder import HighestRate, highest_rate, ladder
from paring.measure.latency import warm_up
from paring.measure.loadgen import (
    FULL_COUNT,
    FULL_MS,
    SHORT_COUNT,
    SHORT_MS,
    STREAMS,
    Load,
    LoadResult,
    Scenario,
    run_load,
)
from paring.measure.steady import steady

MEGABYTE = 1_000_000
AHEAD = 1.5  # LoadGen prepares so much more than a warm call promises, since a run that ends early is invalid


@dataclass(frozen=True)
class LoadPlan:
    """What to find out. `limit_ms` asks for the highest rate that keeps p99 below it; `edge_bytes` caps memory."""

    scenarios: tuple[Scenario, ...] = get_args(Scenario)
    limit_ms: float | None = None
    rungs: bool = False
    full: bool = False
    edge_bytes: int | None = None
    price_per_core_hour: float = 0.04
    duration_ms: int = SHORT_MS
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("limit_ms", "edge_bytes", "duration_ms", "workers"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SettingError(f"load: {name} is {value}; it must be above 0.")
        if self.price_per_core_hour < 0:
            raise SettingError(f"load: price_per_core_hour is {self.price_per_core_hour}; it must not be below 0.")


@dataclass(frozen=True)
class LoadReport:
    """`saturation_per_s` is the Offline rate; `energy` and cost refer to that run too."""

    path: Path
    target: Target
    results: tuple[LoadResult, ...]
    saturation_per_s: float
    energy: Energy
    cost_per_million: float
    highest: HighestRate | None = None
    rungs: tuple[tuple[float, LoadResult], ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def load_test(
    path: str | Path,
    target: Target,
    plan: LoadPlan,
    *,
    inputs: Arrays | None = None,
    shapes: Shapes | None = None,
    report: Callable[[str], None] = lambda words: None,
) -> LoadReport:
    """Runs the plan in this process, on the target's cores. Raises EngineError for what cannot run, or for memory.

    A file of a fixed batch answers larger queries by several calls.
    """
    path = Path(path)
    place = steady(target.threads * plan.workers) if plan.edge_bytes is None else edge(plan.edge_bytes)
    with place:
        report("warming up")
        single, batch, streams = _calls(path, target, plan, inputs, shapes)
        per_call_s, per_batch_s, per_streams_s = (
            warm_up(call, window_ms=50, max_windows=10) / 1e9 for call in (single, batch, streams)
        )
        run = partial(_run, plan=plan, single=single, batch=batch, streams=streams, batch_size=target.batch_size)
        report("Offline")
        offline: list[LoadResult] = []
        expected = AHEAD * plan.workers * target.batch_size / per_batch_s
        energy = energy_of(lambda: offline.append(run(Load("Offline", expected, **_size(plan, "Offline")))))
        saturation = offline[0].samples_per_s
        results = []
        for scenario in plan.scenarios:
            report(scenario)
            rate = saturation / 2  # a server that is half busy, unless a limit says otherwise
            query_ms = 1e3 * (per_streams_s if scenario == "MultiStream" else per_call_s)
            limit_ms = plan.limit_ms or 1e3 * 10 * per_call_s
            load = Load(scenario, rate, limit_ms, query_ms / AHEAD, **_size(plan, scenario))
            results.append(offline[0] if scenario == "Offline" else run(load))
        limit = plan.limit_ms

        def serve(rate: float) -> LoadResult:
            report(f"Server at {rate:,.0f} per s")
            return run(Load("Server", rate, limit or 1e3, **_size(plan, "Server", rate)))

        highest = None if limit is None else highest_rate(serve, limit, saturation)
        rungs = ladder(serve, saturation) if plan.rungs else ()
    cost = cost_per_million(offline[0].cpu_ms_per_sample, plan.price_per_core_hour)
    return LoadReport(path, target, tuple(results), saturation, energy, cost, highest, rungs, _notes(plan))


def _size(plan: LoadPlan, scenario: str, rate: float | None = None) -> dict[str, int]:
    """Length of a run. A rung of a ladder lasts as long as the plan says, however few queries that is."""
    if plan.full:
        return {"min_duration_ms": FULL_MS, "min_count": FULL_COUNT[scenario]}
    count = SHORT_COUNT[scenario] if rate is None else max(int(rate * plan.duration_ms / 1e3), 1)
    return {"min_duration_ms": plan.duration_ms, "min_count": count}


def _run(
    load: Load,
    plan: LoadPlan,
    single: Callable[[], object],
    batch: Callable[[], object],
    streams: Callable[[], object],
    batch_size: int,
) -> LoadResult:
    if load.scenario == "Offline":
        return run_load(load, lambda n: batch(), workers=plan.workers, batch_size=batch_size)
    if load.scenario == "MultiStream":
        return run_load(load, lambda n: streams())
    return run_load(load, lambda n: single(), workers=plan.workers)


def _calls(
    path: Path, target: Target, plan: LoadPlan, inputs: Arrays | None, shapes: Shapes | None
) -> tuple[Callable[[], object], ...]:
    """Prepared calls of one sample, of the target's batch, and of a MultiStream query."""
    sizes = (1, target.batch_size, STREAMS if "MultiStream" in plan.scenarios else 1)
    made = {size: _prepared(path, target, size, inputs, shapes, plan.workers) for size in dict.fromkeys(sizes)}
    return tuple(made[size] for size in sizes)


def _prepared(
    path: Path, target: Target, size: int, inputs: Arrays | None, shapes: Shapes | None, workers: int
) -> Callable[[], object]:
    session = open_session(path, target)
    arrays: Arrays = inputs if inputs is not None else free_inputs(path, session.inputs, 1, shapes)
    rows, times = batched(session, arrays, size)
    if target.static_shapes:
        session = open_session(path, target, static={name: array.shape for name, array in rows.items()})
    call = in_turn([session.prepare(rows) for _ in range(workers)])
    return call if times == 1 else partial(_repeat, call, times)


def batched(session: FileSession, arrays: Arrays, size: int) -> tuple[Arrays, int]:
    """Inputs of `size` examples, and how many calls they take: one, or `size` where no first dimension is free.

    Inputs whose first dimension the file fixes (a table, a number) are the same for every example.
    """
    free = {spec.name for spec in session.inputs if spec.shape is None or (spec.shape and spec.shape[0] is None)}
    if not free:
        return arrays, size
    return {
        name: np.repeat(array[:1], size, axis=0) if name in free and array.ndim else array
        for name, array in arrays.items()
    }, 1


def in_turn(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """One call for threads to share, of which each runs in one thread at a time: a prepared call holds its buffers."""
    if len(calls) == 1:
        return calls[0]
    idle: SimpleQueue[Callable[[], object]] = SimpleQueue()
    for one in calls:
        idle.put(one)

    def call() -> object:
        taken = idle.get()
        try:
            return taken()
        finally:
            idle.put(taken)

    return call


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _notes(plan: LoadPlan) -> tuple[str, ...]:
    short = "short runs: long enough for LoadGen's early stopping, not for a submission"
    length = "MLPerf's full sizes" if plan.full else short
    notes = [f"{length}; every sample is the same prepared input"]
    if plan.edge_bytes is not None:
        notes.append(f"edge profile: one core, at most {plan.edge_bytes / MEGABYTE:,.0f} MB beyond the empty process")
    return tuple(notes)
