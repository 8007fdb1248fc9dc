"""`results.json`: one row an artifact, for programs. Its shape is kept stable (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from paring.core.budget import Budget
from paring.core.measurement import Measurement, Quality, Standing, TargetTiming
from paring.core.metric import within
from paring.report.detail import Detail
from paring.report.words import metric_text, signed, times


@dataclass(frozen=True)
class Run:
    """A finished run: the baseline, its candidates, and which of them was chosen.

    `miss` says why none was; `last_round` is of those that the clock could not tell apart at first; `details` holds, by
    candidate name, what only the page shows.
    """

    task: str
    baseline: Measurement
    candidates: tuple[Measurement, ...]
    chosen: str | None
    machine: dict[str, Any]
    versions: dict[str, str]
    command: str = ""
    budget: Budget = Budget()  # noqa: RUF009
    miss: str = ""
    last_round: tuple[Standing, ...] = ()
    higher_is_better: bool = True
    details: Mapping[str, Detail] = field(default_factory=dict, repr=False)

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
        "budget": asdict(run.budget),
        "higher_is_better": run.higher_is_better,
        "last_round": [asdict(standing) for standing in run.last_round],
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
        "roofline": None if measured.roofline is None else asdict(measured.roofline),
        "memory": None if measured.memory is None else asdict(measured.memory),
        "throughput": [asdict(entry) for entry in measured.throughput],
        "drift": measured.drift,
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
    """The run in one sentence: what was chosen, what it gives, what it costs; one more where the data that chose
    nothing say that it costs more than was allowed."""
    best = next((measured for measured in run.candidates if measured.name == run.chosen), None)
    if best is None:
        return f"No candidate stays inside the budget; the baseline file ({run.baseline.file_bytes:,} bytes) remains."
    size = times(run.baseline.file_bytes / best.file_bytes, "smaller", "larger")
    return (
        f"{best.name}: {_speed(best)}, a file {size} ({best.file_bytes:,} bytes), {_price(best)}.{_beyond(run, best)}"
    )


def refused_lines(run: Run) -> list[str]:
    """Where an engine refused a file, or answered otherwise than the model does: a line each."""
    return [f"{one.name} on {target}: {why}" for one in run.rows for target, why in one.refused.items()]


def _speed(best: Measurement) -> str:
    ratio = best.speedup
    if best.verdict == "slower":
        return f"{1 / ratio.ratio:.2f} times slower ({1 / ratio.high:.2f} to {1 / ratio.low:.2f})"
    if best.verdict == "faster":
        return f"{ratio.ratio:.2f} times faster ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"as fast as the baseline within the noise ({ratio.low:.2f} to {ratio.high:.2f})"


def _price(best: Measurement) -> str:
    quality = best.headline or best.quality
    lost = metric_text(abs(quality.drop))
    if not lost.strip("0."):
        change = "the same as the baseline"
    else:
        change = f"{lost} {'worse' if quality.drop > 0 else 'better'} than the baseline"
    interval = ""
    if quality.drop_interval is not None:
        interval = f" (95 % interval of the drop {quality.drop_interval[0]:+.4f} to {quality.drop_interval[1]:+.4f})"
    return f"{best.metric_name} {metric_text(quality.metric)} on {quality.split}, {change}{interval}"


def _beyond(run: Run, best: Measurement) -> str:
    limit, seen = run.budget.max_metric_drop, best.headline
    if limit is None or seen is None or within(seen.drop, limit):
        return ""
    chose = best.quality
    words = f" The budget allows {metric_text(limit)}, and was held to on {chose.split}: a drop of {signed(chose.drop)}"
    if chose.drop_interval is None:
        return f"{words} there."
    low, high = chose.drop_interval
    surer = "" if run.budget.use_interval else "; --use-interval holds the upper end to it"
    return f"{words} there ({low:+.4f} to {high:+.4f}{surer})."


def _quality(quality: Quality) -> dict[str, Any]:
    interval = quality.drop_interval
    return {
        "split": quality.split,
        "metric": quality.metric,
        "drop": quality.drop,
        "drop_interval": None if interval is None else list(interval),
        "num_examples": quality.num_examples,
        "agreement": None if quality.agreement is None else asdict(quality.agreement),
        "slices": [asdict(entry) for entry in quality.slices],
        "train_gap": quality.train_gap,
    }
