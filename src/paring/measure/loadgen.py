"""One run of MLPerf LoadGen, the reference load generator, over a file in this process.

LoadGen decides when queries come and takes the time itself; in the Server scenario from the scheduled arrival, so that
waiting counts. Reddi et al. 2020, arXiv:1911.02549.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, get_args

from paring.errors import EngineError, SettingError, UnknownNameError

Scenario = Literal["SingleStream", "MultiStream", "Offline", "Server"]
Answer = Callable[[int], object]
PREFIX = ":::MLLOG "
STREAMS = 8  # samples of a MultiStream query, as MLPerf's edge rules have it
LIBRARY = 1024  # samples LoadGen picks from; all are the same prepared input
# MLPerf's inference rules: minutes, and how many queries (samples, in Offline) at least.
FULL_MS = 600_000
FULL_COUNT = {"SingleStream": 1_024, "MultiStream": 662, "Offline": 24_576, "Server": 270_336}
# LoadGen's early stopping needs this many queries to call a run valid at its percentile.
SHORT_MS = 2_000
SHORT_COUNT = {"SingleStream": 64, "MultiStream": 662, "Offline": 1, "Server": 662}


@dataclass(frozen=True)
class Load:
    """What to run. `qps` is the Server's arrival rate, or what Offline is expected to reach.

    `expected_ms` is what a query of SingleStream or MultiStream may take: LoadGen prepares as many queries as fit into
    the run at that speed, and calls a run that got through them too soon invalid. A smaller figure only prepares more.
    """

    scenario: Scenario = "SingleStream"
    qps: float = 100.0
    limit_ms: float = 100.0
    expected_ms: float = 1.0
    min_duration_ms: int = SHORT_MS
    min_count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scenario not in get_args(Scenario):
            raise UnknownNameError("scenario", self.scenario, get_args(Scenario), "load")
        for name in ("qps", "limit_ms", "expected_ms", "min_duration_ms"):
            if getattr(self, name) <= 0:
                raise SettingError(f"load: {name} is {getattr(self, name)}; it must be above 0.")

    @property
    def count(self) -> int:
        """Queries at least."""
        return SHORT_COUNT[self.scenario] if self.min_count is None else self.min_count


@dataclass(frozen=True)
class LoadResult:
    """What LoadGen measured. `valid` is its own verdict on the run's length and, for Server, on the limit."""

    scenario: Scenario
    valid: bool
    why: str
    latency_ms: dict[str, float]
    samples_per_s: float
    scheduled_per_s: float | None
    queries: int
    cpu_ms_per_sample: float
    seconds: float


def run_load(load: Load, answer: Answer, *, workers: int = 1, batch_size: int = 1) -> LoadResult:
    """Runs one scenario; `answer(n)` answers n samples and returns when they are done.

    SingleStream and MultiStream are answered on LoadGen's own thread, Server and Offline by `workers` threads; Offline
    hands them `batch_size` samples at a time.
    Raises: EngineError if mlcommons-loadgen is not installed; whatever `answer` raised.
    """
    lg = _library()
    failures: list[BaseException] = []

    def serve(samples: Sequence[Any]) -> None:
        try:
            if not failures:
                answer(len(samples))
        except BaseException as error:  # told after the run: LoadGen waits for every answer
            failures.append(error)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])

    direct = load.scenario in ("SingleStream", "MultiStream")
    with tempfile.TemporaryDirectory() as folder, _issuer(serve, direct, workers, batch_size) as issue:
        sut = lg.ConstructSUT(issue, lambda: None)
        qsl = lg.ConstructQSL(LIBRARY, LIBRARY, lambda indices: None, lambda indices: None)
        cpu, start = time.process_time(), time.perf_counter()
        try:
            lg.StartTestWithLogSettings(sut, qsl, _settings(lg, load), _logs(lg, folder), str(Path(folder) / "none"))
        finally:
            cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
            lg.DestroyQSL(qsl)
            lg.DestroySUT(sut)
        if failures:
            raise failures[0]
        said = read_log(Path(folder) / "mlperf_log_detail.txt")
    return result_of(load, said, cpu, seconds)


def read_log(path: Path) -> dict[str, Any]:
    """Key -> value of LoadGen's detail log; the last value where a key comes twice. Raises EngineError for no log."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EngineError(f"load: LoadGen left no log ({error.strerror}); it did not run to its end.") from error
    entries = (json.loads(line.removeprefix(PREFIX)) for line in lines if line.startswith(PREFIX))
    return {entry["key"]: entry["value"] for entry in entries}


def result_of(load: Load, said: dict[str, Any], cpu_s: float, seconds: float) -> LoadResult:
    """The log's figures under our names: latency per query, samples per second.

    Raises: EngineError for a log that ends before its results.
    """
    if "result_validity" not in said:
        raise EngineError(f"load: LoadGen's log of {load.scenario} holds no result; it did not run to its end.")
    kind = "_per_query" if load.scenario == "MultiStream" else ""
    latency = {
        short: said[f"result_{long}_percentile{kind}_latency_ns"] / 1e6
        for short, long in (("p50", "50.00"), ("p90", "90.00"), ("p99", "99.00"))
    }
    queries = int(said["result_query_count"])
    per_query = int(said.get("generated_samples_per_query", STREAMS if load.scenario == "MultiStream" else 1))
    rates = ("result_samples_per_second", "result_completed_samples_per_sec", "result_qps_with_loadgen_overhead")
    rate = next((float(said[key]) for key in rates if key in said), None)
    if rate is None:  # MultiStream says only how long a query took
        rate = per_query * 1e9 / float(said["result_mean_query_latency_ns"])
    return LoadResult(
        scenario=load.scenario,
        valid=said["result_validity"] == "VALID",
        why=" ".join(str(said.get("result_invalid_reason", "")).split()),
        latency_ms=latency,
        samples_per_s=rate,
        scheduled_per_s=said.get("result_scheduled_samples_per_sec"),
        queries=queries,
        cpu_ms_per_sample=cpu_s * 1e3 / max(queries * per_query, 1),
        seconds=seconds,
    )


def _library() -> Any:
    if importlib.util.find_spec("mlperf_loadgen") is None:
        raise EngineError("mlcommons-loadgen is not installed, so no load can be run. Run: pip install 'paring[load]'")
    import mlperf_loadgen

    return mlperf_loadgen


def _settings(lg: Any, load: Load) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, load.scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = load.min_duration_ms
    settings.min_query_count = load.count
    settings.server_target_qps = load.qps
    settings.server_target_latency_ns = int(load.limit_ms * 1e6)
    settings.server_target_latency_percentile = 0.99
    settings.offline_expected_qps = load.qps
    settings.multi_stream_samples_per_query = STREAMS
    settings.single_stream_expected_latency_ns = max(int(load.expected_ms * 1e6), 1)
    settings.multi_stream_expected_latency_ns = max(int(load.expected_ms * 1e6), 1)
    for name in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        setattr(settings, name, load.seed)
    return settings


def _logs(lg: Any, folder: str) -> Any:
    logs, output = lg.LogSettings(), lg.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = folder, False
    logs.log_output, logs.enable_trace = output, False
    return logs


@contextmanager
def _issuer(
    serve: Callable[[Sequence[Any]], None], direct: bool, workers: int, batch_size: int
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """What LoadGen calls with a query: `serve` itself, or a queue in front of worker threads."""
    if direct:
        yield serve
        return
    queue: SimpleQueue[Sequence[Any] | None] = SimpleQueue()

    def work() -> None:
        while (samples := queue.get()) is not None:
            serve(samples)

    def issue(samples: Sequence[Any]) -> None:
        for first in range(0, len(samples), batch_size):
            queue.put(samples[first : first + batch_size])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield issue
    finally:
        for _ in threads:
            queue.put(None)
        for thread in threads:
            thread.join()
