"""What the user can afford."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from paring.core.measurement import Measurement
from paring.core.metric import within
from paring.errors import SettingError


@dataclass(frozen=True)
class Budget:
    """Limits on one artifact; `None` leaves a quantity free.

    `max_metric_drop` is in the metric's own unit (0.01 is one point of accuracy) and is held against the upper end of
    the drop's interval when `use_interval` is true, else against the drop itself.
    """

    max_metric_drop: float | None = None
    max_latency_ms: float | None = None
    percentile: Literal["p50", "p90", "p99"] = "p50"
    min_throughput_per_s: float | None = None
    max_file_bytes: int | None = None
    max_coded_bytes: int | None = None
    max_peak_memory_bytes: int | None = None
    use_interval: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if (
                field.name.startswith(("max_latency", "max_file", "max_coded", "max_peak", "min_"))
                and value is not None
                and value <= 0
            ):
                raise SettingError(f"Budget: {field.name} is {value}; it must be above 0, or None for no limit.")

    def shortfalls(self, measured: Measurement) -> dict[str, float]:
        """Which limits `measured` breaks, each with by how much: 1.25 is 25 % beyond the limit."""
        seen = measured.quality
        drop = seen.drop_interval[1] if self.use_interval and seen.drop_interval else seen.drop
        pairs: list[tuple[str, float | None, float | None]] = [
            ("max_latency_ms", measured.latency_ms.get(self.percentile), self.max_latency_ms),
            ("max_file_bytes", measured.file_bytes, self.max_file_bytes),
            ("max_coded_bytes", measured.coded_bytes, self.max_coded_bytes),
            ("max_peak_memory_bytes", measured.peak_memory_bytes, self.max_peak_memory_bytes),
        ]
        broken = {
            name: got / limit for name, got, limit in pairs if limit is not None and got is not None and got > limit
        }
        if self.max_metric_drop is not None and not within(drop, self.max_metric_drop):
            broken["max_metric_drop"] = drop / self.max_metric_drop if self.max_metric_drop > 0 else float("inf")
        wanted, rate = self.min_throughput_per_s, measured.throughput_per_s
        if wanted is not None and rate is not None and rate < wanted:
            broken["min_throughput_per_s"] = wanted / rate
        return broken

    def allows(self, measured: Measurement) -> bool:
        """Whether every limit holds."""
        return not self.shortfalls(measured)
