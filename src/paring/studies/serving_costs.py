"""What a call costs: latency alone and under LoadGen's Server load, and the processor time of a million predictions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any

from paring.core.edit import Progress
from paring.errors import EngineError
from paring.judge.bench import timed_inputs
from paring.judge.judge import timed_runner
from paring.measure.eager import as_inputs, eager_session
from paring.measure.energy import cost_per_million
from paring.measure.loadgen import Load, run_load
from paring.measure.steady import steady
from paring.studies.sheets import Sheet
from paring.studies.study import Judgement

PRICE = 0.04  # of an hour of one core
QPS = 500.0
EAGER = "teacher, PyTorch"
COMPUTE = (
    ("name", "row"), ("on", "on"), ("p50", "one call, p50 ms"), ("p99", "p99 ms"), ("per_s", "calls a second and core"),
    ("cpu_s", "CPU seconds a million"), ("cost", "cost of a million"), ("gmacs", "GMACs a million"),
)  # fmt: skip
COMPUTE_NOTE = (
    "Batch 1, one thread, each file on the Target where it is fastest; PyTorch is eager, fp32. The cost of a million "
    f"predictions takes {PRICE} for an hour of one core."
)
LOAD = (
    ("name", "row"), ("qps", "queries a second"), ("p50", "p50 ms"), ("p90", "p90 ms"), ("p99", "p99 ms"),
    ("queries", "queries"), ("valid", "LoadGen says"),
)  # fmt: skip
LOAD_NOTE = (
    "MLPerf LoadGen, Server scenario: queries come at random moments, latency counts from the scheduled arrival, in "
    "this process and through one worker thread, whose hand-over is part of every figure."
)


def compute_rows(judgement: Judgement) -> list[dict[str, Any]]:
    """One row a file, and one for the baseline in PyTorch where that was timed."""
    rows = []
    for name, one in judgement.measured.items():
        best = next(entry for entry in one.targets if entry.target == one.target)
        macs = one.macs
        rows.append(_compute(name, str(one.target), one.latency_ms, one.throughput_per_s, best.cpu_ms, macs))
        for entry in one.targets:
            if one is judgement.run.baseline and entry.target.engine == "torch":
                rows.append(_compute(EAGER, "torch", entry.latency_ms, entry.throughput_per_s, entry.cpu_ms, macs))
    return rows


def compute_sheet(part: str, rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """The rows as a table."""
    title = f"{part}: compute per million predictions"
    return Sheet(f"{part} compute", title, COMPUTE_NOTE, COMPUTE, tuple(rows), "latency_results")


def server_sheet(part: str, judgement: Judgement, names: Sequence[str], ms: int) -> Generator[Progress, None, Sheet]:
    """The Server scenario for each file of `names` and for the baseline in PyTorch, each `ms` long.

    Says so where there is no LoadGen.
    """
    task, example = judgement.task, timed_inputs(judgement.task, 1)
    makers: dict[str, Callable[[], Callable[[], object]]] = {
        EAGER: lambda: eager_session(task, task.model, threads=1).prepare(as_inputs(example))
    }
    for name in names:
        makers[name] = partial(timed_runner, judgement.files[name], judgement.measured[name].target, example)
    rows: list[dict[str, Any]] = []
    note = LOAD_NOTE
    for place, (name, make) in enumerate(makers.items()):
        yield Progress(place, len(makers), f"under load: {name}")
        load = Load("Server", qps=QPS, limit_ms=10.0, min_duration_ms=ms, min_count=int(QPS * ms / 1e3))
        try:
            with steady(1):
                call = make()
                call()
                found = run_load(load, lambda n, call=call: call())  # type: ignore[misc]
        except EngineError as error:
            note = f"Not run: {error}"
            break
        rows.append(
            {"name": name, "qps": QPS, **found.latency_ms, "queries": found.queries,
             "valid": "valid" if found.valid else f"invalid: {found.why}"}
        )  # fmt: skip
    return Sheet(f"{part} server load", f"{part}: under Server load", note, LOAD, tuple(rows), "latency_results")


def _compute(
    name: str, on: str, latency: Mapping[str, float], per_s: float, cpu_ms: float | None, macs: int
) -> dict[str, Any]:
    return {
        "name": name,
        "on": on,
        "p50": latency["p50"],
        "p99": latency["p99"],
        "per_s": per_s,
        "cpu_s": None if cpu_ms is None else cpu_ms * 1e3,
        "cost": None if cpu_ms is None else cost_per_million(cpu_ms, PRICE),
        "gmacs": macs * 1e6 / 1e9,
    }
