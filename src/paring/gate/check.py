"""Every limit of an allowance, held against what was seen of two files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from paring.core.metric import within
from paring.errors import SettingError

Outcome = Literal["holds", "broken", "unknown"]


@dataclass(frozen=True)
class Allowance:
    """What the new file may cost. `None` leaves a quantity free.

    `max_metric_drop` is against the old file, in the metric's unit, and is held against the upper end of the drop's
    interval where one was taken. `min_speedup` is held against the lower end of its interval: 1.0 asks for a file that
    is surely not slower, 0.95 tolerates the noise. `max_size_ratio` is new bytes over old bytes.
    """

    max_metric_drop: float | None = None
    max_latency_ms: float | None = None
    percentile: str = "p50"
    min_throughput_per_s: float | None = None
    max_file_bytes: float | None = None
    max_peak_memory_bytes: float | None = None
    min_speedup: float | None = None
    max_size_ratio: float | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, field.name) is None for field in fields(self) if field.name != "percentile"):
            raise SettingError("gate: the budget sets no limit, so that anything would pass. Set at least one.")
        if self.percentile not in ("p50", "p90", "p99"):
            raise SettingError(f"gate: percentile is {self.percentile!r}; it must be p50, p90 or p99.")


@dataclass(frozen=True)
class Seen:
    """What was measured of one file here; `metric` with where it comes from, None where nothing says it."""

    file_bytes: int
    latency_ms: Mapping[str, float]
    throughput_per_s: float
    target: str
    peak_memory_bytes: int | None = None
    metric: float | None = None


@dataclass(frozen=True)
class Against:
    """The new file relative to the old one. `drop_source` says what the drop was taken from."""

    speedup: tuple[float, float, float]  # ratio, low, high
    drop: float | None = None
    drop_interval: tuple[float, float] | None = None
    drop_source: str = "nothing: give --data, or artifacts that were measured"


@dataclass(frozen=True)
class Check:
    """One limit: what is allowed, what the old and the new file show, and whether it holds."""

    limit: str
    allowed: float
    old: float | None
    new: float | None
    outcome: Outcome
    note: str = ""


def checks(allowance: Allowance, old: Seen, new: Seen, against: Against) -> tuple[Check, ...]:
    """One Check for every limit that is set. What is not known does not hold."""
    return tuple(_all(allowance, old, new, against))


def passes(found: tuple[Check, ...]) -> bool:
    """Whether every limit holds."""
    return all(one.outcome == "holds" for one in found)


def _all(allowance: Allowance, old: Seen, new: Seen, against: Against) -> Iterator[Check]:
    at_most: Mapping[str, Callable[[Seen], float | None]] = {
        "max_latency_ms": lambda seen: seen.latency_ms[allowance.percentile],
        "max_file_bytes": lambda seen: seen.file_bytes,
        "max_peak_memory_bytes": lambda seen: seen.peak_memory_bytes,
    }
    for limit, value in at_most.items():
        if (allowed := getattr(allowance, limit)) is not None:
            note = f"{allowance.percentile} on {new.target}" if limit == "max_latency_ms" else ""
            yield _check(limit, allowed, value(old), value(new), value(new), most=True, note=note)
    if (allowed := allowance.min_throughput_per_s) is not None:
        rates = old.throughput_per_s, new.throughput_per_s
        yield _check("min_throughput_per_s", allowed, *rates, rates[1], most=False, note=f"on {new.target}")
    if (allowed := allowance.max_metric_drop) is not None:
        worst = against.drop if against.drop_interval is None else against.drop_interval[1]
        outcome: Outcome = "unknown" if worst is None else "holds" if within(worst, allowed) else "broken"
        yield Check("max_metric_drop", allowed, None, against.drop, outcome, _drop_note(against))
    if (allowed := allowance.min_speedup) is not None:
        ratio, low, high = against.speedup
        note = f"99 % interval {low:.3f} to {high:.3f}; its lower end counts"
        yield _check("min_speedup", allowed, 1.0, ratio, low, most=False, note=note)
    if (allowed := allowance.max_size_ratio) is not None:
        ratio = new.file_bytes / old.file_bytes
        yield _check("max_size_ratio", allowed, 1.0, ratio, ratio, most=True)


def _check(
    limit: str, allowed: float, old: float | None, new: float | None, held: float | None, *, most: bool, note: str = ""
) -> Check:
    """`held` is what is held against the limit; NaN is nothing that holds."""
    outcome: Outcome = "unknown"
    if held is not None:
        outcome = "holds" if (held <= allowed if most else held >= allowed) else "broken"
    return Check(limit, allowed, old, new, outcome, note)


def _drop_note(against: Against) -> str:
    if against.drop_interval is None:
        return f"from {against.drop_source}"
    low, high = against.drop_interval
    return f"95 % interval {low:+.4f} to {high:+.4f}, its upper end counts; from {against.drop_source}"


def as_data(found: tuple[Check, ...]) -> dict[str, Any]:
    """The checks as plain data."""
    rows = [{field.name: getattr(one, field.name) for field in fields(one)} for one in found]
    return {"passed": passes(found), "checks": rows}
