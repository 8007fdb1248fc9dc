"""Which candidate to ship."""

from __future__ import annotations

from collections.abc import Sequence

from paring.core.budget import Budget
from paring.core.measurement import Measurement
from paring.errors import BudgetError


def select(measured: Sequence[Measurement], budget: Budget) -> Measurement:
    """The fastest inside the budget; among those the clock cannot tell apart, the smallest file, then the name.

    Raises: BudgetError naming the nearest miss and which limits it breaks.
    """
    inside = [one for one in measured if budget.allows(one)]
    if not inside:
        raise BudgetError(_nearest_miss(measured, budget))
    fastest = max(inside, key=lambda one: one.speedup.ratio)
    as_fast = [one for one in inside if one.speedup.high >= fastest.speedup.low]
    return min(as_fast, key=lambda one: (one.file_bytes, one.name))


def _nearest_miss(measured: Sequence[Measurement], budget: Budget) -> str:
    if not measured:
        return "budget: there is no candidate to choose from. Give at least one recipe."
    misses = [(one, budget.shortfalls(one)) for one in measured]
    nearest, broken = min(misses, key=lambda pair: max(pair[1].values()))
    told = ", ".join(f"{limit} by a factor of {by:.2f}" for limit, by in sorted(broken.items()))
    return f"budget: none of {len(measured)} candidates stays inside. Nearest is {nearest.name}: beyond {told}."
