"""Which part each file of a run plays in the plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paring.core.measurement import Measurement, Quality
from paring.report.words import digits, metric_text, scaled, signed

Role = Literal["chosen", "baseline", "inside", "outside"]
WORDS = {"chosen": "chosen", "baseline": "baseline", "inside": "inside the budget", "outside": "outside the budget"}


@dataclass(frozen=True)
class Point:
    """A file at x (better is less) and y (the metric), each with its interval where there is one."""

    x: float
    y: float
    x_interval: tuple[float, float] | None
    y_interval: tuple[float, float] | None
    drop: float


def role(measured: Measurement, chosen: str | None) -> Role:
    """What `measured` is in its run."""
    if measured.verdict == "baseline":
        return "baseline"
    if measured.name == chosen:
        return "chosen"
    return "outside" if measured.within_budget is False else "inside"


def shown(measured: Measurement) -> Quality:
    """The headline where it was taken, else what selection saw."""
    return measured.headline or measured.quality


def metric_interval(measured: Measurement, higher_is_better: bool) -> tuple[float, float] | None:
    """The interval of the drop, as an interval around the metric itself; none for the baseline."""
    quality = shown(measured)
    if quality.drop_interval is None or measured.verdict == "baseline":
        return None
    low, high = (bound - quality.drop for bound in quality.drop_interval)
    return (
        (quality.metric - high, quality.metric - low)
        if higher_is_better
        else (
            quality.metric + low,
            quality.metric + high,
        )
    )


def latency_interval(measured: Measurement) -> tuple[float, float] | None:
    """The interval of the ratio to the baseline, as milliseconds around the median; none for the baseline."""
    if measured.verdict == "baseline":
        return None
    median, ratio = measured.latency_ms["p50"], measured.speedup
    return (median * ratio.ratio / ratio.high, median * ratio.ratio / ratio.low)


def front(points: Sequence[Point]) -> list[int]:
    """Which points no other beats on both axes, from left to right. Of equal points the first counts."""
    best, kept = float("inf"), []
    for index in sorted(range(len(points)), key=lambda i: (points[i].x, points[i].drop)):
        if points[index].drop < best:
            best = points[index].drop
            kept.append(index)
    return kept


def hint(measured: Measurement, chosen: str | None) -> str:
    """What a tooltip says, line by line."""
    quality, ratio = shown(measured), measured.speedup
    parts = [
        f"{measured.name} ({WORDS[role(measured, chosen)]})",
        f"{measured.metric_name} {metric_text(quality.metric)} on {quality.split}, drop {signed(quality.drop)}",
        f"{digits(measured.latency_ms['p50'])} ms median, {measured.target}",
        f"{scaled(measured.file_bytes, 'B')}, {scaled(measured.macs)} MACs, {scaled(measured.num_params)} parameters",
    ]
    if measured.verdict != "baseline":
        parts.insert(3, f"{ratio.ratio:.2f} times the baseline's speed ({ratio.low:.2f} to {ratio.high:.2f})")
    return "\n".join(parts)
