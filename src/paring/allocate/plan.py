"""The choice itself: solved exactly within the budget for options that know nothing of one another, improved with what
they add to each other, then tried against its neighbours on the real loss."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from paring.allocate.interplay import Interplay
from paring.allocate.losses import Yardstick
from paring.allocate.option import Option, Unit
from paring.allocate.table import Table
from paring.allocate.whole import Whole, joint
from paring.core.edit import Progress
from paring.errors import BudgetError
from paring.numerics.knapsack import solve

MOST_STEPS = 4  # a unit, while a plan is improved
HALVINGS = 8  # of the way between two times, in ratio: the last are about half a percent apart
NEAREST = 1.01  # times the least time, which no plan may have
EDGE = 1e-9  # of a limit, so that the plan that just meets it does
LEAST_GAIN, NO_LOSS = 1e-9, 1e-6  # of a step, in parts of the loss, which counts as this where it is less


@dataclass(frozen=True)
class Limits:
    """Of the whole file; `inf` where free."""

    ms: float = np.inf
    num_bytes: float = np.inf

    def parts(self) -> NDArray[np.float64]:
        """(3,): as `Whole.parts`, whose two times are both limited."""
        return np.array([self.ms, self.ms, self.num_bytes])

    def over(self, other: Limits) -> float:
        """How many times these are the other ones, where that is most."""
        return max(self.ms / other.ms, self.num_bytes / other.num_bytes)


@dataclass(frozen=True)
class Plan:
    """One option a unit. `loss` of all together, `ms` (unless it was taken) and `num_bytes` are foretold; `summed` is
    what the options lose each alone. No choice within the budget has a sum below `bound`, and `gap` is how far `summed`
    lies above it, as a part of `summed`: proved for the options that it was chosen from (one family's, where it is a
    family's plan).

    `loss_per_ms` and `loss_per_kb` are by how much one more unit of that budget would lower the loss, at the margin.
    `residual` is the root mean square relative error of foretold times on files left out of the fit.
    """

    choice: Mapping[Unit, Option]
    loss: float
    summed: float
    ms: float
    num_bytes: float
    bound: float
    gap: float
    loss_per_ms: float
    loss_per_kb: float
    residual: float

    def __str__(self) -> str:
        return (
            f"foretold loss {self.loss:.4g} (apart {self.summed:.4g}, bound {self.bound:.4g}, gap {self.gap:.2%}), "
            f"{self.ms:.4g} ms (residual {self.residual:.1%}), {self.num_bytes / 1000:.4g} kB; "
            f"price {self.loss_per_ms:.3g} a ms, {self.loss_per_kb:.3g} a kB"
        )


def least_of(table: Table, whole: Whole) -> Limits:
    """The least time and the least bytes that the options reach, each by itself; no plan takes less time, and
    the fastest may take more: it has to be within both times of `Whole.parts`."""
    held_ms, beyond_ms, num_bytes = whole.rest() + sum(
        np.min([whole.parts(entry) for entry in entries], axis=0) for entries in table.values()
    )
    return Limits(max(held_ms, beyond_ms), num_bytes)


def plan_of(table: Table, whole: Whole, limits: Limits) -> Plan:
    """The options of least summed loss within the limits. Raises BudgetError naming what is out of reach."""
    least = least_of(table, whole)
    for what, reached, limit in (("ms", least.ms, limits.ms), ("bytes", least.num_bytes, limits.num_bytes)):
        if reached > limit:
            raise BudgetError(
                f"allocate: the least that its options reach is {reached:.4g} {what}, and the budget asks for "
                f"{limit:.4g}. Allow more, or give more options."
            )
    try:
        found = solve(
            [np.array([one.loss for one in entries]) for entries in table.values()],
            [np.array([whole.parts(one) for one in entries]) for entries in table.values()],
            limits.parts() - whole.rest(),
        )
    except BudgetError as error:
        raise BudgetError(
            f"allocate: no choice of its options stays within {limits.ms:.4g} ms and {limits.num_bytes:.4g} bytes. "
            "Allow more, or give more options."
        ) from error
    chosen = {unit: entries[one] for (unit, entries), one in zip(table.items(), found.chosen, strict=True)}
    choice = {unit: entry.option for unit, entry in chosen.items()}
    return Plan(
        choice=choice,
        loss=Interplay({unit: [entry] for unit, entry in chosen.items()}).loss(choice),
        summed=found.loss,
        ms=whole.ms(list(chosen.values())),
        num_bytes=whole.num_bytes(list(chosen.values())),
        bound=found.bound,
        gap=found.gap,
        loss_per_ms=float(found.prices_C[:2].sum()),
        loss_per_kb=1000 * float(found.prices_C[2]),
        residual=whole.residual,
    )


def foretold(table: Table, whole: Whole, limits: Limits) -> Plan:
    """The solver's plan, improved: what the joint loss within `limits` is foretold by. Raises as `plan_of`."""
    return improved([plan_of(table, whole, limits)], table, whole, limits)


def fastest_within(table: Table, whole: Whole, max_loss: float, limits: Limits, start: Plan) -> float:
    """Milliseconds within which a plan is still foretold to lose no more than `max_loss`, found by halving the way, in
    ratio, from the time of `start`, which loses no more, to the least time that the options reach."""
    low, high = least_of(table, whole).ms, start.ms
    for _ in range(HALVINGS):
        between = float(np.sqrt(low * high))
        try:
            fits = foretold(table, whole, replace(limits, ms=between)).loss <= max_loss
        except BudgetError:  # the bytes allow no such time
            fits = False
        low, high = (low, between) if fits else (between, high)
    return (1 + EDGE) * high


def improved(plans: Sequence[Plan], table: Table, whole: Whole, limits: Limits) -> Plan:
    """From each of `plans`, steps of one option or two, each the one that lowers the foretold loss most, until none
    does; the best of where they lead.

    The first plan is the solver's for the whole table: its bound and its prices hold for any choice.
    """
    around = _Around(table, whole, limits)
    starts = {tuple(plan.choice.values()): plan for plan in plans}
    return min((_descended(plans[0], plan, around, whole) for plan in starts.values()), key=lambda plan: plan.loss)


def _descended(plan: Plan, start: Plan, around: _Around, whole: Whole) -> Plan:
    places_U = around.interplay.places(start.choice)
    for _ in range(MOST_STEPS * len(places_U)):
        changes_OO = around.changes(places_U)
        lowest = int(changes_OO.argmin())
        if changes_OO.flat[lowest] >= -LEAST_GAIN * max(start.loss, NO_LOSS):
            break
        places_U = around.after(places_U, lowest)
    choice = around.interplay.choice(places_U)
    entries = [around.interplay.entries[place] for place in places_U]
    summed = sum(entry.loss for entry in entries)
    return replace(
        plan,
        choice=choice,
        loss=around.interplay.loss(choice),
        summed=summed,
        ms=whole.ms(entries),
        num_bytes=whole.num_bytes(entries),
        gap=max(0.0, summed - plan.bound) / summed if summed > 0 else 0.0,
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
    around, choice = _Around(table, whole, limits), dict(plan.choice)
    best = yardstick.loss(joint(model, yardstick.task, choice))
    tried: set[tuple[Option, ...]] = {tuple(choice.values())}
    for trial in range(swaps):
        yield Progress(trial, swaps, f"local search: joint loss {best:.4g}, foretold {plan.loss:.4g}")
        other = around.neighbour(choice, tried)
        if other is None:
            break
        tried.add(tuple(other.values()))
        loss = yardstick.loss(joint(model, yardstick.task, other))
        if loss < best:
            best, choice = loss, other
    return choice, best


class _Around:
    """Choices within the limits in which one unit differs from another choice, or two."""

    def __init__(self, table: Table, whole: Whole, limits: Limits) -> None:
        self.interplay = Interplay(table)
        self._costs_CO = np.array([whole.parts(entry) for entry in self.interplay.entries]).T
        self._room_C = limits.parts() - whole.rest()

    def changes(self, places_U: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `Interplay.changes`; inf where a step leaves the limits."""
        changes_OO = self.interplay.changes(places_U)
        now_O = places_U[self.interplay.unit_O]
        for costs_O, room in zip(self._costs_CO, self._room_C, strict=True):
            added_O = costs_O - costs_O[now_O]
            added_OO = added_O[:, None] + added_O[None, :]
            np.fill_diagonal(added_OO, added_O)
            changes_OO[added_OO > room - costs_O[places_U].sum()] = np.inf
        return changes_OO

    def after(self, places_U: NDArray[np.intp], step: int) -> NDArray[np.intp]:
        """The choice after a step, which is a place among the flattened changes."""
        moved_U = places_U.copy()
        for option in divmod(step, len(self.interplay.entries)):
            moved_U[self.interplay.unit_O[option]] = option
        return moved_U

    def neighbour(self, choice: Mapping[Unit, Option], tried: set[tuple[Option, ...]]) -> dict[Unit, Option] | None:
        """The untried choice of least foretold loss that is a step away."""
        places_U = self.interplay.places(choice)
        changes_OO = self.changes(places_U)
        most = min(changes_OO.size - 1, len(tried))  # so many may have been tried, and no more
        lowest = np.argpartition(changes_OO, most, axis=None)[: most + 1]
        for step in lowest[np.argsort(changes_OO.flat[lowest])]:
            if np.isinf(changes_OO.flat[step]):
                break
            other = dict(self.interplay.choice(self.after(places_U, int(step))))
            if tuple(other.values()) not in tried:
                return other
        return None
