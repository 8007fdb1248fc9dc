"""Which candidate to ship, and what to say where none may be."""

from __future__ import annotations

from collections.abc import Sequence

from paring.core.budget import Budget
from paring.core.measurement import Measurement, Standing
from paring.errors import BudgetError

# Field of Budget -> the quantity, and how its figures are written.
QUANTITIES = {
    "max_latency_ms": ("latency", "{:.6g} ms"),
    "max_file_bytes": ("file size", "{:,.0f} bytes"),
    "max_coded_bytes": ("coded size", "{:,.0f} bytes"),
    "max_peak_memory_bytes": ("peak memory", "{:,.0f} bytes"),
    "max_metric_drop": ("metric drop", "{:.6g}"),
    "min_throughput_per_s": ("throughput", "{:,.6g} a second"),
}


def select(measured: Sequence[Measurement], budget: Budget) -> Measurement:
    """The fastest inside the budget; among those the clock cannot tell apart, the smallest file, then the name.

    Raises: BudgetError naming the nearest miss, the limits it breaks and its figures there.
    """
    return min(rivals(measured, budget), key=lambda one: (one.file_bytes, one.name))


def rivals(measured: Sequence[Measurement], budget: Budget) -> list[Measurement]:
    """Those inside the budget that the clock could not tell from the fastest; the fastest first.

    Raises: BudgetError as `select`.
    """
    inside = [one for one in measured if budget.allows(one)]
    if not inside:
        raise BudgetError(_nearest_miss(measured, budget))
    inside.sort(key=lambda one: (-one.speedup.ratio, one.file_bytes, one.name))
    return [one for one in inside if one.speedup.high >= inside[0].speedup.low]


def winner(standings: Sequence[Standing]) -> Standing:
    """Of a last round: of those that are not slower than the fastest the smallest file, then the name."""
    return min((one for one in standings if not one.slower), key=lambda one: (one.file_bytes, one.name))


def quantity(limit: str, budget: Budget) -> str:
    """What a limit of the budget is on: "p99 latency"."""
    name = QUANTITIES[limit][0]
    return f"{budget.percentile} {name}" if limit == "max_latency_ms" else name


def allowed(limit: str, budget: Budget) -> str:
    """The limit itself, with its unit."""
    return QUANTITIES[limit][1].format(getattr(budget, limit))


def reached(limit: str, one: Measurement, budget: Budget) -> str:
    """What the candidate comes to where the limit is set, with its unit."""
    seen = one.quality
    figures = {
        "max_latency_ms": one.latency_ms[budget.percentile],
        "max_file_bytes": one.file_bytes,
        "max_coded_bytes": one.coded_bytes,
        "max_peak_memory_bytes": one.peak_memory_bytes,
        "max_metric_drop": seen.drop_interval[1] if budget.use_interval and seen.drop_interval else seen.drop,
        "min_throughput_per_s": one.throughput_per_s,
    }
    return QUANTITIES[limit][1].format(figures[limit])


def _nearest_miss(measured: Sequence[Measurement], budget: Budget) -> str:
    if not measured:
        return "budget: no candidate was measured, so there is none to choose from. Give recipes, or more time."
    misses = [(one, budget.shortfalls(one)) for one in measured]
    nearest, broken = min(misses, key=lambda pair: max(pair[1].values()))
    told = ", ".join(
        f"{quantity(limit, budget)} {reached(limit, nearest, budget)} where the budget says {allowed(limit, budget)}"
        for limit in sorted(broken)
    )
    count = "the one candidate does not stay" if len(measured) == 1 else f"none of {len(measured)} candidates stays"
    return f"budget: {count} inside. Nearest is {nearest.name}: {told}. Give way there, or add recipes that go further."
