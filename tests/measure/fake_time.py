"""Time is faked: a runner moves the clocks by what it is said to cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from paring.measure.latency import Clocks


@dataclass
class FakeTime:
    """Wall and processor clocks in nanoseconds, and who was called in which order."""

    wall: int = 0
    cpu: int = 0
    calls: list[str] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall, lambda: self.cpu)

    def runner(self, name: str, us: float, *, cpu_us: float | None = None, noise: float = 0.01) -> Callable[[], object]:
        def run() -> None:
            factor = float(self.rng.lognormal(sigma=noise))
            self.calls.append(name)
            self.wall += int(1_000 * us * factor)
            self.cpu += int(1_000 * (us if cpu_us is None else cpu_us) * factor)

        return run
