"""Energy from the processor's own counter, and what a million predictions cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NOT_HERE = "not measurable here"
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Energy:
    """Joules of all processor packages, or why there are none."""

    joules: float | None
    why: str = ""

    def __str__(self) -> str:
        return f"{NOT_HERE} ({self.why})" if self.joules is None else f"{self.joules:.2f} J"


def energy_of(work: Callable[[], object], folder: Path = POWERCAP) -> Energy:
    """Runs `work` and says what the packages (RAPL) used meanwhile, other processes included."""
    before = _counters(folder)
    work()
    after = _counters(folder)
    if isinstance(before, str) or isinstance(after, str):
        return Energy(None, before if isinstance(before, str) else str(after))
    used = 0.0
    for package, (start, limit) in before.items():
        end = after.get(package, (start, limit))[0]
        used += end - start if end >= start else end - start + limit  # the counter wraps
    return Energy(used / 1e6)


def cost_per_million(cpu_ms_per_sample: float, price_per_core_hour: float) -> float:
    """What a million predictions cost, in the price's currency, from the processor time they take."""
    return cpu_ms_per_sample * 1e-3 * 1e6 / SECONDS_PER_HOUR * price_per_core_hour


def _counters(folder: Path) -> dict[str, tuple[int, int]] | str:
    """Package -> (microjoules, where the counter wraps), or the reason why there are none."""
    packages = [zone for zone in sorted(folder.glob("*-rapl:*")) if zone.name.count(":") == 1]
    if not packages:
        return "the system shows no RAPL counter"
    found = {}
    for zone in packages:
        try:
            reads = [int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj")]
        except (OSError, ValueError):
            return f"{zone / 'energy_uj'} cannot be read; root can"
        found[zone.name] = reads[0], reads[1]
    return found
