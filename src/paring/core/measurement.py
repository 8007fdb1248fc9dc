"""What was measured of one file. Units stand in the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from paring.core.detail import Agreement, Floor, MemoryUse, SliceDrop, Throughput
from paring.core.target import Target

Verdict = Literal["faster", "slower", "indistinguishable", "baseline"]


@dataclass(frozen=True)
class Ratio:
    """Base time over candidate time (above 1 is faster) with its confidence interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """A candidate in the last round, in which those that the clock could not tell apart are timed in turns.

    `ratio` is the time of the fastest of the round over this one's; `slower` where the verdict on that is.
    """

    name: str
    file_bytes: int
    ms: float
    ratio: Ratio
    slower: bool


@dataclass(frozen=True)
class Quality:
    """The metric of one file on one split, and how much worse it is than the baseline's own file there.

    `slices` says the same class by class, where the targets are classes, so that a loss on a small class shows;
    `train_gap` is how much better the metric is on training data (None where it was not looked at).
    """

    split: str
    metric: float
    drop: float
    drop_interval: tuple[float, float] | None
    num_examples: int
    agreement: Agreement | None = None
    slices: tuple[SliceDrop, ...] = ()
    train_gap: float | None = None


@dataclass(frozen=True)
class TargetTiming:
    """Latency of one file on one Target, and what it answered there (validation)."""

    target: Target
    latency_ms: Mapping[str, float]
    throughput_per_s: float
    cpu_ms: float | None = None
    metric: float | None = None
    drop: float | None = None
    parity_error: float | None = None


@dataclass(frozen=True)
class Measurement:
    """Of one file on the Target where it is fastest; all its Targets stand in `targets`.

    `quality` is what selection sees (validation); `headline` the one look at `test`, where it was taken. `speedup` is
    against the baseline's own file on the baseline's fastest Target; `speedup_eager` against PyTorch eager fp32.
    `latency_ms` holds p50, p90 and p99; `refused` says on which Targets the file failed, and why. `drift` is by how
    much a fixed kernel changed its speed while the file was timed: above `paring.measure.canary.DRIFT` the clock's
    figures deserve doubt.
    """

    name: str
    recipe: tuple[str, ...]
    metric_name: str
    quality: Quality
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
    targets: tuple[TargetTiming, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    headline: Quality | None = None
    peak_memory_bytes: int | None = None
    coded_bytes: int | None = None
    roofline_multiple: float | None = None
    within_budget: bool | None = None
    memory: MemoryUse | None = None
    roofline: Floor | None = None
    throughput: tuple[Throughput, ...] = ()
    drift: float | None = None
