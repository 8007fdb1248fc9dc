"""The plans that come into question: of every table and of every family alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paring.allocate.option import Option, by_layer
from paring.allocate.plan import Limits, Plan, improved, least_of, plan_of
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.table import Table, families
from paring.allocate.whole import Whole
from paring.errors import BudgetError

MOST, NEAR = 8, 2.0  # plans that are tried, and how many times the least foretold loss they may be foretold


@dataclass(frozen=True)
class Found:
    """A plan, what it was chosen from, and its budget."""

    plan: Plan
    table: Table
    whole: Whole
    limits: Limits
    stopwatch: Stopwatch | None = None  # what its time was taken with


def contenders(tables: Sequence[Table], whole: Whole, limits: Limits) -> list[Found]:
    """The best of what improves on any plan, then every table's plan (see `units_of`: channel groups cut apart, all
    that touch cut alike, or none cut), those of one family alone, and what improves on these within the family.

    The fewer layers are chosen for together, the freer are their bits. Raises BudgetError if no plan fits, that of the
    plan which comes nearest.
    """
    found, better = list[Found](), list[Found]()
    missed = list[tuple[float, BudgetError]]()
    for table in tables:
        plans = list[Plan]()
        for part in (table, *families(table)):
            try:
                plans.append(plan_of(part, whole, limits))
            except BudgetError as error:
                missed.append((least_of(part, whole).over(limits), error))
                continue
            if part is not table:
                found.append(Found(improved(plans[-1:], part, whole, limits), table, whole, limits))
        found += [Found(plan, table, whole, limits) for plan in plans]
        better += [Found(improved(plans, table, whole, limits), table, whole, limits)] if plans else []
    if not better:
        raise min(missed, key=lambda miss: miss[0])[1]
    nearest = min(better, key=lambda one: one.plan.loss)  # one is enough: where steps lead they are much alike
    return [nearest, *found]


def different(found: Sequence[Found]) -> list[Found]:
    """Each model once, the least foretold loss first."""
    models: dict[frozenset[tuple[str, Option, bool]], Found] = {}
    for one in found:
        models.setdefault(by_layer(one.plan.choice), one)
    return sorted(models.values(), key=lambda one: one.plan.loss)


def near(ranked: Sequence[Found]) -> list[Found]:
    """The first, and those whose foretold loss is near its own, not too many."""
    return [one for one in ranked if one.plan.loss <= NEAR * ranked[0].plan.loss][:MOST]
