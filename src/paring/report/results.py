"""`results.json`: one row an artifact, for programs. Its shape is kept stable (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paring.core.measurement import Measurement, Quality, TargetTiming


@dataclass(frozen=True)
class Run:
    """A finished run: the baseline, its candidates, and which of them was chosen."""

    task: str
    baseline: Measurement
    candidates: tuple[Measurement, ...]
    chosen: str | None
    machine: dict[str, Any]
    versions: dict[str, str]
    command: str = ""

    @property
    def rows(self) -> tuple[Measurement, ...]:
        """Baseline first."""
        return (self.baseline, *self.candidates)


def results(run: Run) -> dict[str, Any]:
    """The run as plain data."""
    return {
        "format": 1,
        "task": run.task,
        "command": run.command,
        "machine": run.machine,
        "versions": run.versions,
        "baseline": run.baseline.name,
        "chosen": run.chosen,
        "rows": [row(measured) for measured in run.rows],
    }


def row(measured: Measurement) -> dict[str, Any]:
    """One measurement as plain data: `metric` and `drop` are the headline's, `selection` those the choice saw."""
    shown = measured.headline or measured.quality
    return {
        "name": measured.name,
        "recipe": list(measured.recipe),
        "metric_name": measured.metric_name,
        **_quality(shown),
        "selection": _quality(measured.quality),
        "num_params": measured.num_params,
        "macs": measured.macs,
        "file_bytes": measured.file_bytes,
        "coded_bytes": measured.coded_bytes,
        "peak_memory_bytes": measured.peak_memory_bytes,
        **asdict(measured.target),
        "latency_ms": dict(measured.latency_ms),
        "throughput_per_s": measured.throughput_per_s,
        "speedup": asdict(measured.speedup),
        "speedup_eager": None if measured.speedup_eager is None else asdict(measured.speedup_eager),
        "noise_floor": measured.noise_floor,
        "roofline_multiple": measured.roofline_multiple,
        "verdict": measured.verdict,
        "within_budget": measured.within_budget,
        "targets": [timing(entry) for entry in measured.targets],
        "refused": dict(measured.refused),
    }


def timing(entry: TargetTiming) -> dict[str, Any]:
    """One Target's timing as plain data."""
    figures = {name: getattr(entry, name) for name in ("throughput_per_s", "cpu_ms", "metric", "drop", "parity_error")}
    return asdict(entry.target) | {"latency_ms": dict(entry.latency_ms)} | figures


def verdict_sentence(run: Run) -> str:
    """The run in one sentence: what was chosen, what it costs, what it gives."""
    chosen: Sequence[Measurement] = [measured for measured in run.candidates if measured.name == run.chosen]
    if not chosen:
        return f"No candidate stays inside the budget; the baseline file ({run.baseline.file_bytes:,} bytes) remains."
    best, base = chosen[0], run.baseline
    shown = best.headline or best.quality
    interval = ""
    if shown.drop_interval is not None:
        interval = f" (95 % interval {shown.drop_interval[0]:+.4f} to {shown.drop_interval[1]:+.4f})"
    if best.verdict == "indistinguishable":
        speed = "as fast as the baseline within the noise"
    else:
        factor = best.speedup.ratio if best.verdict == "faster" else 1 / best.speedup.ratio
        speed = f"{factor:.2f} times {best.verdict} ({best.speedup.low:.2f} to {best.speedup.high:.2f})"
    size = base.file_bytes / best.file_bytes
    return (
        f"{best.name}: {speed}, a file {size:.1f} times smaller ({best.file_bytes:,} bytes), {best.metric_name} "
        f"{shown.metric:.4f} on {shown.split}, a drop of {shown.drop:+.4f}{interval}."
    )


def _quality(quality: Quality) -> dict[str, Any]:
    interval = quality.drop_interval
    return {
        "split": quality.split,
        "metric": quality.metric,
        "drop": quality.drop,
        "drop_interval": None if interval is None else list(interval),
        "num_examples": quality.num_examples,
    }
