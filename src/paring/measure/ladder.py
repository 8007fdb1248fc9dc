"""How much load a file bears: the highest rate that keeps a latency limit, and what happens beyond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paring.errors import SettingError
from paring.measure.loadgen import LoadResult

RunAt = Callable[[float], LoadResult]
STEPS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0)  # of the saturation rate


@dataclass(frozen=True)
class HighestRate:
    """The highest arrival rate found to keep `percentile` under `limit_ms`; None if none did."""

    per_s: float | None
    limit_ms: float
    percentile: str
    tried: tuple[tuple[float, float, bool], ...]  # rate, latency in ms, kept


def highest_rate(
    run: RunAt, limit_ms: float, saturation: float, *, percentile: str = "p99", rounds: int = 6
) -> HighestRate:
    """Bisects arrival rates below 1.1 times `saturation`, the rate at which the file is never idle.

    Args:
        run: one Server run at a rate, in samples per second.
    Raises: SettingError for a limit or saturation that is not above 0.
    """
    if limit_ms <= 0 or saturation <= 0:
        raise SettingError(f"load: limit {limit_ms} ms, saturation {saturation} per s; both must be above 0.")
    low, high = 0.0, 1.1 * saturation
    tried = []
    best = None
    for _ in range(rounds):
        rate = (low + high) / 2
        seen = run(rate).latency_ms[percentile]
        kept = seen <= limit_ms
        tried.append((rate, seen, kept))
        if kept:
            low = best = rate
        else:
            high = rate
    return HighestRate(best, limit_ms, percentile, tuple(tried))


def ladder(run: RunAt, saturation: float, steps: tuple[float, ...] = STEPS) -> tuple[tuple[float, LoadResult], ...]:
    """(share of saturation, result) up to twice saturation: where latency leaves the ground shows by itself."""
    return tuple((step, run(step * saturation)) for step in steps)


def breaking_point(rungs: tuple[tuple[float, LoadResult], ...], *, factor: float = 3.0) -> float | None:
    """The first rate at which p99 is more than `factor` times that of the lowest rung; None if none."""
    calm = rungs[0][1].latency_ms["p99"]
    for _, result in rungs:
        if result.latency_ms["p99"] > factor * calm:
            return result.scheduled_per_s or result.samples_per_s
    return None
