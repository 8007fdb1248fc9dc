"""Rates up to twice saturation, and the highest rate that keeps a latency bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paring.traffic.client import closed_loop, run_rung
from paring.traffic.plan import Rung
from paring.traffic.target import Address

STEPS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0)
KEPT = 0.99  # share of requests that must be accepted for a rate to count as held
Say = Callable[[str], object]


@dataclass(frozen=True)
class Ladder:
    """One model under load. `highest_per_s` is the highest rate tried whose `percentile` stayed below `limit_ms` with
    nearly nothing refused; None if none did, or if no limit was asked for."""

    model: str
    saturation_per_s: float
    rungs: tuple[Rung, ...]
    limit_ms: float | None
    percentile: str
    highest_per_s: float | None


def climb(
    address: Address,
    request: bytes,
    *,
    seconds: float = 5.0,
    steps: Sequence[float] = STEPS,
    limit_ms: float | None = None,
    percentile: str = "p99",
    clients: int = 64,
    rounds: int = 4,
    seed: int = 0,
    say: Say = lambda words: None,
) -> Ladder:
    """Finds saturation by clients without pause, then holds each step of it; with a limit, bisects for its rate."""
    say(f"{address.model}: saturation")
    saturation = closed_loop(address, request, clients, seconds)
    rungs = []
    for number, step in enumerate(steps):
        say(f"{address.model}: {step:.0%} of {saturation:,.0f} per s")
        rungs.append(run_rung(address, request, step * saturation, seconds, seed + number))
    highest = None
    if limit_ms is not None:
        low = max((one.rate_per_s for one in rungs if holds(one, limit_ms, percentile)), default=0.0)
        high = min((one.rate_per_s for one in rungs if one.rate_per_s > low), default=low * 1.5)
        for number in range(rounds):
            rate = (low + high) / 2
            say(f"{address.model}: {rate:,.0f} per s against {percentile} {limit_ms:g} ms")
            rungs.append(run_rung(address, request, rate, seconds, seed + 100 + number))
            if holds(rungs[-1], limit_ms, percentile):
                low = rate
            else:
                high = rate
        highest = low or None
    rungs.sort(key=lambda one: one.rate_per_s)
    return Ladder(address.model, saturation, tuple(rungs), limit_ms, percentile, highest)


def holds(one: Rung, limit_ms: float, percentile: str) -> bool:
    """Whether a rung kept the limit and refused next to nothing."""
    return one.sent > 0 and one.accepted >= KEPT * one.sent and one.latency_ms[percentile] <= limit_ms


def as_data(ladder: Ladder) -> dict[str, Any]:
    """The ladder as plain data."""
    return asdict(ladder)
