"""The choice itself: solved exactly within the budget, then tried against its neighbours on the real loss."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from torch import nn

from paring.allocate.losses import Yardstick
from paring.allocate.option import Option, Unit
from paring.allocate.table import Entry, Table
from paring.allocate.whole import Whole, joint
from paring.core.edit import Progress
from paring.errors import BudgetError
from paring.numerics.knapsack import solve


@dataclass(frozen=True)
class Limits:
    """Of the whole file; `inf` where free."""

    ms: float = np.inf
    num_bytes: float = np.inf

    def over(self, other: Limits) -> float:
        """How many times these are the other ones, where that is most."""
        return max(self.ms / other.ms, self.num_bytes / other.num_bytes)


@dataclass(frozen=True)
class Plan:
    """One option a unit. `loss`, `ms`, `num_bytes` are foretold; `bound` and `gap` are proved for the options that it
    was chosen from (one family's, where it is a family's plan).

    `loss_per_ms` and `loss_per_kb` are by how much one more unit of that budget would lower the loss, at the margin.
    `residual` is the root mean square relative error of foretold times on files left out of the fit.
    """

    choice: Mapping[Unit, Option]
    loss: float
    ms: float
    num_bytes: float
    bound: float
    gap: float
    loss_per_ms: float
    loss_per_kb: float
    residual: float

    def __str__(self) -> str:
        return (
            f"foretold loss {self.loss:.4g} (bound {self.bound:.4g}, gap {self.gap:.2%}), {self.ms:.4g} ms "
            f"(residual {self.residual:.1%}), {self.num_bytes / 1000:.4g} kB; "
            f"price {self.loss_per_ms:.3g} a ms, {self.loss_per_kb:.3g} a kB"
        )


def least_of(table: Table, whole: Whole) -> Limits:
    """The least time and the least bytes that the options reach, each by itself."""
    fastest = whole.weights[0] + sum(min(map(whole.part_ms, entries)) for entries in table.values())
    smallest = whole.overhead_bytes + sum(min(map(whole.part_bytes, entries)) for entries in table.values())
    return Limits(fastest, smallest)


def plan_of(table: Table, whole: Whole, limits: Limits) -> Plan:
    """The options of least summed loss within the limits. Raises BudgetError naming what is out of reach."""
    least = least_of(table, whole)
    for what, reached, limit in (("ms", least.ms, limits.ms), ("bytes", least.num_bytes, limits.num_bytes)):
        if reached > limit:
            raise BudgetError(
                f"allocate: the least that its options reach is {reached:.4g} {what}, and the budget asks for "
                f"{limit:.4g}. Allow more, or give more options."
            )
    found = solve(
        [np.array([one.loss for one in entries]) for entries in table.values()],
        [np.array([[whole.part_ms(one), whole.part_bytes(one)] for one in entries]) for entries in table.values()],
        np.array([limits.ms - whole.weights[0], limits.num_bytes - whole.overhead_bytes]),
    )
    chosen = {unit: entries[one] for (unit, entries), one in zip(table.items(), found.chosen, strict=True)}
    return Plan(
        choice={unit: entry.option for unit, entry in chosen.items()},
        loss=found.loss,
        ms=whole.ms(list(chosen.values())),
        num_bytes=whole.num_bytes(list(chosen.values())),
        bound=found.bound,
        gap=found.gap,
        loss_per_ms=float(found.prices_C[0]),
        loss_per_kb=1000 * float(found.prices_C[1]),
        residual=whole.residual,
    )


def searched(
    plan: Plan,
    table: Table,
    whole: Whole,
    limits: Limits,
    model: nn.Module,
    yardstick: Yardstick,
    swaps: int,
) -> Generator[Progress, None, tuple[Mapping[Unit, Option], float]]:
    """The best choice among `plan` and `swaps` neighbours by the real joint loss, and that loss."""
    choice = dict(plan.choice)
    best = yardstick.loss(joint(model, yardstick.task, choice))
    tried: set[tuple[Option, ...]] = {tuple(choice.values())}
    for trial in range(swaps):
        yield Progress(trial, swaps, f"local search: joint loss {best:.4g}, foretold {plan.loss:.4g}")
        other = _neighbour(choice, table, whole, limits, tried)
        if other is None:
            break
        tried.add(tuple(other.values()))
        loss = yardstick.loss(joint(model, yardstick.task, other))
        if loss < best:
            best, choice = loss, other
    return choice, best


def _neighbour(
    choice: Mapping[Unit, Option], table: Table, whole: Whole, limits: Limits, tried: set[tuple[Option, ...]]
) -> dict[Unit, Option] | None:
    """The untried choice of least foretold loss in which one unit differs, or one gains and another gives."""
    now = {unit: next(one for one in entries if one.option == choice[unit]) for unit, entries in table.items()}
    moves = [(unit, entry) for unit, entries in table.items() for entry in entries if entry is not now[unit]]
    steps = [[move] for move in moves]
    steps += [[one, two] for one, two in permutations(moves, 2) if _trade(now, one, two)]
    found: tuple[float, dict[Unit, Option]] | None = None
    for step in steps:
        mixed = now | dict(step)
        options = {unit: entry.option for unit, entry in mixed.items()}
        entries = list(mixed.values())
        fits = whole.ms(entries) <= limits.ms and whole.num_bytes(entries) <= limits.num_bytes
        loss = sum(entry.loss for entry in entries)
        if fits and tuple(options.values()) not in tried and (found is None or loss < found[0]):
            found = loss, options
    return None if found is None else found[1]


def _trade(now: Mapping[Unit, Entry], one: tuple[Unit, Entry], two: tuple[Unit, Entry]) -> bool:
    return one[0] != two[0] and one[1].loss < now[one[0]].loss and two[1].loss > now[two[0]].loss
