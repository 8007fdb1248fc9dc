"""What a measurement shows beyond its headline figures. Units stand in the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "memory"]


@dataclass(frozen=True)
class Agreement:
    """How far a file answers as the original does: share of equal top answers, and mean KL divergence in nats."""

    top1: float
    mean_kl: float


@dataclass(frozen=True)
class SliceDrop:
    """The metric over some of the examples (one class, one group of users), and how much worse it is there."""

    name: str
    metric: float
    drop: float
    drop_interval: tuple[float, float] | None
    num_examples: int


@dataclass(frozen=True)
class Throughput:
    """Examples per second of `processes` processes side by side, each with `threads` threads."""

    batch_size: int
    threads: int
    processes: int
    per_s: float
    cpu_ms_per_example: float


@dataclass(frozen=True)
class Timeline:
    """One process while it loads and runs a file: equally long, one entry a look."""

    t_s: tuple[float, ...]
    rss_bytes: tuple[int, ...]
    cpu_percent: tuple[float, ...]


@dataclass(frozen=True)
class MemoryUse:
    """Of a fresh process that loads and runs the file.

    `weights_bytes` is what the weights take at their stored types; `loaded_bytes` the resident set that loading added;
    `peak_bytes` the peak above an empty engine; `cold_start_ms` from the start of the process to the first answer, of
    which `load_ms` loads the file.
    """

    weights_bytes: int
    loaded_bytes: int
    peak_bytes: int
    cold_start_ms: float
    load_ms: float
    timeline: Timeline


@dataclass(frozen=True)
class OpFloor:
    """The least time one operator can take on this machine, and which side sets it."""

    op: str
    kind: str
    module: str
    macs: int
    bytes: int
    compute_ms: float
    memory_ms: float
    bound: Bound

    @property
    def floor_ms(self) -> float:
        """The larger of the two."""
        return max(self.compute_ms, self.memory_ms)


@dataclass(frozen=True)
class Floor:
    """`sum max(compute, memory) + call overhead` of a file on one Target, and the measured time over it."""

    floor_ms: float
    overhead_ms: float
    multiple: float
    ops: tuple[OpFloor, ...]
