"""The plans that come into question: of every table and of every family alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from paring.allocate.option import Option, by_layer
from paring.allocate.plan import Limits, Plan, improved, least_of, plan_of
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.table import Table, families, in_precision
from paring.allocate.whole import Whole
from paring.core.edit import Progress
from paring.errors import BudgetError

MOST, NEAR = 8, 2.0  # plans that are tried, and how many times the least foretold loss they may be foretold
TURNS = 5  # of solving, timing the plan, and correcting the times by it
CLOSE = 0.01  # of a time: what is no farther above it meets it
FAR = 1.25  # times the limit: what is foretold more is not timed


@dataclass(frozen=True)
class Found:
    """A plan, what it was chosen from, and its budget."""

    plan: Plan
    table: Table
    whole: Whole
    limits: Limits


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


def contenders_in_time(
    tables: Sequence[Table], whole: Whole, limits: Limits, stopwatch: Stopwatch
) -> Generator[Progress, None, list[Found]]:
    """Contenders by times that were corrected: the best plan is timed, and what it takes beside what it was foretold
    corrects all, till the two agree.

    Each precision everywhere is a plan too, if it is within the time: where times are foretold badly it is one that is
    known. Raises: BudgetError if no plan is foretold to fit, and none of these does.
    """
    found, met = list[Found](), list[Found]()
    corrected, missed = whole, BudgetError()
    for _ in range(TURNS):
        try:
            found = contenders(tables, corrected, limits)
        except BudgetError as error:
            missed = error
            break
        best = found[0].plan
        ms = yield from stopwatch.ms(best.choice)
        met += found[:1] if is_within(ms, limits) else []
        if abs(ms / best.ms - 1) <= CLOSE:
            break
        corrected = corrected.scaled(ms / best.ms)
    for one in different(_everywhere(tables[0], whole, limits)):
        if is_within((yield from stopwatch.ms(one.plan.choice)), limits):
            met.append(one)
    if not found and not met:
        raise missed
    return [*found, *met]


def is_within(ms: float, limits: Limits) -> bool:
    """Whether a time that was taken meets them."""
    return ms <= (1 + CLOSE) * limits.ms


def different(found: Sequence[Found]) -> list[Found]:
    """Each model once, the least foretold loss first."""
    models: dict[frozenset[tuple[str, Option, bool]], Found] = {}
    for one in found:
        models.setdefault(by_layer(one.plan.choice), one)
    return sorted(models.values(), key=lambda one: one.plan.loss)


def near(ranked: Sequence[Found]) -> list[Found]:
    """The first, and those whose foretold loss is near its own, not too many."""
    return [one for one in ranked if one.plan.loss <= NEAR * ranked[0].plan.loss][:MOST]


def _everywhere(table: Table, whole: Whole, limits: Limits) -> list[Found]:
    """Plans of each precision in all layers that have it, embeddings as they are or alike, foretold to be not FAR from
    the limits."""
    around = replace(limits, ms=FAR * limits.ms)
    plans = list[Found]()
    for precision in sorted({entry.option.precision for entries in table.values() for entry in entries}):
        for of_tables in ("float", precision):
            part = {
                unit: [in_precision(entries, of_tables if unit.is_table else precision)]
                for unit, entries in table.items()
            }
            with suppress(BudgetError):
                plans.append(Found(plan_of(part, whole, around), table, whole, limits))
    return plans
