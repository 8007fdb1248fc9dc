"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paring.core.budget import Budget
from paring.errors import SettingError, UnknownNameError
from paring.judge.bench import Bench

ENGINES = ("onnxruntime", "openvino", "torch")
MILLISECONDS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
BYTES = {"": 1.0, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000, "kib": 1 << 10, "mib": 1 << 20}

Engines = Annotated[list[str] | None, typer.Option("--engine", help="Time on this engine only; repeatable.")]
Device = Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads per call.")]
BatchSize = Annotated[int, typer.Option("--batch", min=1, help="Rows per call.")]
Percentile = Annotated[str, typer.Option(help="Which latency the budget means: p50, p90 or p99.")]
Out = Annotated[Path, typer.Option("--out", help="The run folder: candidates, artifact, results.json, report.html.")]
Answers = Annotated[
    Path | None, typer.Option("--answers", help="A folder of `paring teach`: train from it, without the teacher.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
MaxDrop = Annotated[str | None, typer.Option(help="Budget: largest drop; 0.01, 0.5pt (points) or 0.5% (relative).")]
UseInterval = Annotated[
    bool, typer.Option("--use-interval", help="Hold --max-drop against the upper end of the drop's 95 % interval.")
]
MaxLatency = Annotated[str | None, typer.Option(help="Budget: longest call, for example 1.5ms.")]
MinThroughput = Annotated[float | None, typer.Option(help="Budget: fewest examples per second.")]
MaxMemory = Annotated[
    str | None, typer.Option(help="Budget: most memory of a fresh process above an empty engine, as 300MB.")
]
MaxSize = Annotated[str | None, typer.Option(help="Budget: largest file, for example 200kB; a bare number is bytes.")]


def bench_of(engines: list[str] | None, device: str, threads: int, batch_size: int) -> Bench:
    """The bench these options ask for. Raises UnknownNameError, or EngineError if none of the engines runs files."""
    if device not in ("cpu", "cuda"):
        raise UnknownNameError("device", device, ("cpu", "cuda"), "--device")
    for engine in engines or ():
        if engine not in ENGINES:
            raise UnknownNameError("engine", engine, ENGINES, "--engine")
    bench = Bench(
        engines=tuple(engines) if engines else ENGINES,  # type: ignore[arg-type]
        device=device,  # type: ignore[arg-type]
        threads=threads,
        batch_size=batch_size,
    )
    bench.targets()
    return bench


def budget_of(
    max_drop: str | None,
    max_latency: str | None,
    max_size: str | None,
    percentile: str,
    relative_to: float | None,
    min_throughput: float | None = None,
    max_memory: str | None = None,
    use_interval: bool = False,
) -> Budget:
    """The budget these options ask for; `relative_to` is the baseline's metric, which a drop in % refers to."""
    if use_interval and max_drop is None:
        raise SettingError("--use-interval: it is about the metric's drop, and --max-drop is not given; give both.")
    if percentile not in ("p50", "p90", "p99"):
        raise UnknownNameError("percentile", percentile, ("p50", "p90", "p99"), "--percentile")
    return Budget(
        max_metric_drop=None if max_drop is None else drop_of(max_drop, relative_to),
        max_latency_ms=None if max_latency is None else number_of(max_latency, "--max-latency", MILLISECONDS),
        percentile=percentile,  # type: ignore[arg-type]
        min_throughput_per_s=min_throughput,
        max_file_bytes=None if max_size is None else int(number_of(max_size, "--max-size", BYTES)),
        max_peak_memory_bytes=None if max_memory is None else int(number_of(max_memory, "--max-memory", BYTES)),
        use_interval=use_interval,
    )


def drop_of(text: str, relative_to: float | None) -> float:
    """`0.01` in the metric's own unit, `0.5pt` as hundredths, `0.5%` of the baseline's metric."""
    value = number_of(text, "--max-drop", {"": 1, "pt": 0.01, "%": 0.01})
    if not text.strip().endswith("%"):
        return value
    if relative_to is None:
        raise SettingError(f"--max-drop {text}: a relative drop needs a baseline that is measured first; use 0.5pt.")
    return value * abs(relative_to)


def number_of(text: str, where: str, units: dict[str, float]) -> float:
    """The number in `text` times its unit. Raises SettingError."""
    cleaned = text.strip().lower()
    digits = cleaned.rstrip("abcdefghijklmnopqrstuvwxyz% ")
    unit = cleaned[len(digits) :].strip()
    if unit not in units:
        allowed = ", ".join(repr(known) for known in units if known)
        raise SettingError(f"{where}: got {text!r}; the unit must be one of {allowed}{', or none' * ('' in units)}.")
    try:
        return float(digits) * units[unit]
    except ValueError:
        raise SettingError(f"{where}: got {text!r}; write a number with its unit, such as 0.5.") from None
