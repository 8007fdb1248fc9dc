"""Which candidate is the answer, how far another is from it, and what each limit costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from paring.choice import quantity, reached, rivals
from paring.core.budget import Budget
from paring.core.measurement import Measurement
from paring.errors import BudgetError

Goal = Literal["fastest", "smallest"]
OUTSIDE = 100.0  # any miss is worse than any hit


def chosen(measured: Sequence[Measurement], budget: Budget, goal: Goal = "fastest") -> Measurement:
    """The fastest (or smallest) inside the budget, never merely the first.

    Raises: BudgetError as `contenders`.
    """
    return min(contenders(measured, budget, goal), key=lambda one: (one.file_bytes, one.name))


def contenders(measured: Sequence[Measurement], budget: Budget, goal: Goal = "fastest") -> list[Measurement]:
    """Those that may be the fastest inside the budget, the fastest first; the smallest alone where that is the goal.

    Raises: BudgetError naming the nearest miss, and for each limit what giving way there alone would buy.
    """
    try:
        fastest = rivals(measured, budget)
    except BudgetError as error:
        raise BudgetError(" ".join([str(error), *what_each_limit_costs(measured, budget)])) from None
    if goal == "fastest":
        return fastest
    inside = [one for one in measured if budget.allows(one)]
    return [min(inside, key=lambda one: (one.file_bytes, one.latency_ms[budget.percentile], one.name))]


def value_of(measured: Measurement, budget: Budget, goal: Goal = "fastest") -> float:
    """Less is better: the log of time (or bytes) inside the budget; outside, how far, above every hit."""
    broken = budget.shortfalls(measured)
    if not broken:
        return -math.log(measured.speedup.ratio) if goal == "fastest" else math.log(measured.file_bytes) - 25
    return OUTSIDE + sum(math.log(min(by, 1e6)) for by in broken.values())


def failed_value() -> float:
    """Of a trial without a file: worse than any miss."""
    return 10 * OUTSIDE


def what_each_limit_costs(measured: Sequence[Measurement], budget: Budget) -> list[str]:
    """For each limit, the candidate that only it keeps out and the figure that would let it in, as sentences."""
    told = []
    for limit in sorted({name for one in measured for name in budget.shortfalls(one)}):
        freed = replace(budget, **{limit: None})  # type: ignore[arg-type]
        blocked = [one for one in measured if freed.allows(one)]
        if blocked:
            nearest = min(blocked, key=lambda one: budget.shortfalls(one)[limit])
            told.append(
                f"Only the limit on {quantity(limit, budget)} keeps out {nearest.name}: "
                f"{reached(limit, nearest, budget)} would do."
            )
        else:
            told.append(f"The limit on {quantity(limit, budget)} alone is not what blocks.")
    return told
