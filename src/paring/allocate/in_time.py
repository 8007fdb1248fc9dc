"""Plans whose own time is within the one that was asked for, however it was foretold."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from paring.allocate.contenders import MOST, NEAR, Found, contenders, different
from paring.allocate.plan import NEAREST, Limits, Plan, foretold, least_of, plan_of
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.table import Table, families, in_precision
from paring.allocate.whole import Whole
from paring.core.edit import Progress
from paring.errors import BudgetError

TURNS = 5  # of solving, timing the plan, and correcting the times by it
CLOSE = 0.01  # of a time: what is no farther above it meets it
FAR = 1.25  # times the limit: what is foretold more is not timed


def contenders_in_time(
    tables: Sequence[Table], whole: Whole, limits: Limits, stopwatch: Stopwatch
) -> Generator[Progress, None, list[Found]]:
    """Contenders whose own time is within `limits.ms`, the least foretold loss first.

    The best plan is timed, and what it takes beside what it was foretold corrects all times, till the two agree; then
    each family's, which may be foretold too slow by times that are right for a mix. Plans are timed one by one then,
    till one loses not `near` what the first within does. The fastest plans are among them, and each precision
    everywhere: where times are foretold badly they are some that are known.
    Raises: BudgetError if no plan is within.
    """
    known = [*_everywhere(tables[0], whole, limits), *_fastest(tables, whole, limits)]
    found, corrected, missed = yield from _agreed(partial(contenders, tables, limits=limits), whole, stopwatch)
    most = NEAR * found[0].plan.loss if found else np.inf
    for table in tables:
        for part in families(table):
            alone, _, _ = yield from _agreed(partial(_of_part, part, table, limits), corrected, stopwatch, most)
            known += alone
    timed, inside = list[Found](), list[Found]()
    ranked = different([*found, *_fastest(tables, corrected, limits), *known])
    for one in ranked:
        if len(inside) == MOST or (inside and one.plan.loss > NEAR * inside[0].plan.loss):
            break
        timed.append((yield from _timed(one, stopwatch)))
        inside += timed[-1:] if is_within(timed[-1].plan.ms, limits) else []
        yield Progress(len(timed), len(ranked), f"plans timed: {timed[-1].plan.ms:.4g} ms, {limits.ms:.4g} asked for")
    if inside:
        return inside
    if not timed:
        assert missed is not None
        raise missed
    raise BudgetError(
        f"allocate: the fastest of its plans takes {min(one.plan.ms for one in timed):.4g} ms, and the budget asks for "
        f"{limits.ms:.4g}. Allow more, or give more options."
    )


def _agreed(
    solve: Callable[[Whole], list[Found]], whole: Whole, stopwatch: Stopwatch, most: float = np.inf
) -> Generator[Progress, None, tuple[list[Found], Whole, BudgetError | None]]:
    """What `solve` finds with times that its first plan's own correct, till the two agree, and the first plans of the
    turns before; these times; what was out of reach with them. Nothing is timed that is foretold to lose above `most`.
    """
    found, firsts = list[Found](), list[Found]()
    for _ in range(TURNS):
        try:
            found = solve(whole)
        except BudgetError as error:
            return [*found, *firsts], whole, error
        best = found[0].plan
        if best.loss > most:
            break
        firsts.append(found[0])
        ratio = (yield from stopwatch.ms(best.choice)) / best.ms
        if abs(ratio - 1) <= CLOSE:
            break
        whole = whole.scaled(ratio)
    return [*found, *firsts], whole, None


def _of_part(part: Table, table: Table, limits: Limits, whole: Whole) -> list[Found]:
    return [Found(foretold(part, whole, limits), table, whole, limits)]


def is_within(ms: float, limits: Limits) -> bool:
    """Whether a time that was taken meets them: it may be CLOSE above."""
    return ms <= (1 + CLOSE) * limits.ms


def _timed(one: Found, stopwatch: Stopwatch) -> Generator[Progress, None, Found]:
    """With its own time, and times corrected so that it is the foretold one."""
    ms = yield from stopwatch.ms(one.plan.choice)
    whole = one.whole.scaled(ms / one.plan.ms)
    return replace(one, plan=replace(one.plan, ms=ms), whole=whole, stopwatch=stopwatch)


def _everywhere(table: Table, whole: Whole, limits: Limits) -> list[Found]:
    """Plans of each precision in all layers that have it, embeddings as they are or alike, foretold to be not FAR from
    the limits."""
    plans = list[Found]()
    for precision in sorted({entry.option.precision for entries in table.values() for entry in entries}):
        for of_tables in ("float", precision):
            part = {
                unit: [in_precision(entries, of_tables if unit.is_table else precision)]
                for unit, entries in table.items()
            }
            with suppress(BudgetError):
                plan = plan_of(part, whole, replace(limits, ms=FAR * limits.ms))
                plans.append(Found(_unproved(plan), table, whole, limits))
    return plans


def _fastest(tables: Sequence[Table], whole: Whole, limits: Limits) -> list[Found]:
    """Of each table the plan of near the least time, if that is foretold not FAR from the limits."""
    plans = list[Found]()
    for table in tables:
        ms = NEAREST * least_of(table, whole).ms
        if ms <= FAR * limits.ms:
            with suppress(BudgetError):
                plans.append(Found(_unproved(plan_of(table, whole, replace(limits, ms=ms))), table, whole, limits))
    return plans


def _unproved(plan: Plan) -> Plan:
    """Of other limits, whose bound and prices say nothing of these."""
    return replace(plan, bound=0.0, gap=float(plan.summed > 0), loss_per_ms=0.0, loss_per_kb=0.0)
