"""What was measured of one file. Units stand in the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from paring.core.target import Target

Verdict = Literal["faster", "slower", "indistinguishable", "baseline"]


@dataclass(frozen=True)
class Ratio:
    """Base time over candidate time (above 1 is faster) with its confidence interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class TargetTiming:
    """Latency of one file on one Target, and what it answered there."""

    target: Target
    latency_ms: Mapping[str, float]
    throughput_per_s: float
    cpu_ms: float | None = None
    metric: float | None = None
    drop: float | None = None
    parity: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Measurement:
    """Of one file on the Target where it is fastest; the other Targets stand in `targets`.

    `speedup` is against the baseline's own file on the baseline's fastest Target; `speedup_eager` against PyTorch
    eager fp32. `latency_ms` holds p50, p90 and p99.
    """

    name: str
    metric_name: str
    metric: float
    drop: float
    drop_interval: tuple[float, float] | None
    num_params: int
    macs: int
    file_bytes: int
    target: Target
    latency_ms: Mapping[str, float]
    throughput_per_s: float
    speedup: Ratio
    speedup_eager: Ratio | None
    verdict: Verdict
    noise_floor: float
    recipe: tuple[str, ...] = ()
    split: str = "validation"
    coded_bytes: int | None = None
    peak_memory_bytes: int | None = None
    roofline_multiple: float | None = None
    within_budget: bool | None = None
    targets: tuple[TargetTiming, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
