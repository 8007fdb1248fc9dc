"""When requests are meant to be sent, and what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.errors import SettingError

Floats = NDArray[np.float64]


def arrivals(rate_per_s: float, seconds: float, seed: int = 0) -> Floats:
    """Send times of a Poisson process, seconds from the start, (n,): gaps are exponential, so that crowds occur.

    Raises: SettingError for a rate or duration that is not above 0.
    """
    if rate_per_s <= 0 or seconds <= 0:
        raise SettingError(f"load: rate {rate_per_s} per s for {seconds} s; both must be above 0.")
    rng = np.random.default_rng(seed)
    count = int(rate_per_s * seconds + 6 * np.sqrt(rate_per_s * seconds) + 10)
    times = np.cumsum(rng.exponential(1 / rate_per_s, count))
    return times[times < seconds]


@dataclass(frozen=True)
class Outcome:
    """One request: when it was meant to go, how long after that its answer came, and its status (0: none came)."""

    at_s: float
    latency_ms: float
    status: int


@dataclass(frozen=True)
class Rung:
    """One rate, held for a while.

    Latency counts from the intended send time, so that waiting for a busy client or connection counts; it is that of
    accepted requests. `refused` were answered 503, `failed` anything else, `late_ms` is the p99 of how far the client
    itself was behind its plan: above a few milliseconds the client, not the server, was the bound.
    """

    rate_per_s: float
    seconds: float
    sent: int
    accepted: int
    refused: int
    failed: int
    answers_per_s: float
    latency_ms: dict[str, float]
    refusal_ms: float | None
    late_ms: float


def rung(rate: float, seconds: float, outcomes: Sequence[Outcome], late_s: Sequence[float], took_s: float) -> Rung:
    """The figures of one rate. `took_s` is the time until the last answer."""
    accepted = np.array([one.latency_ms for one in outcomes if one.status == 200])
    refused = np.array([one.latency_ms for one in outcomes if one.status == 503])
    return Rung(
        rate_per_s=rate,
        seconds=seconds,
        sent=len(outcomes),
        accepted=len(accepted),
        refused=len(refused),
        failed=len(outcomes) - len(accepted) - len(refused),
        answers_per_s=len(accepted) / max(took_s, seconds),
        latency_ms=percentiles(accepted),
        refusal_ms=float(np.median(refused)) if len(refused) else None,
        late_ms=float(np.percentile(late_s, 99)) * 1e3 if len(late_s) else 0.0,
    )


def percentiles(values: Floats) -> dict[str, float]:
    """p50, p90, p99; NaN of nothing."""
    found = np.percentile(values, (50, 90, 99)) if len(values) else np.full(3, np.nan)
    return dict(zip(("p50", "p90", "p99"), (float(value) for value in found), strict=True))
