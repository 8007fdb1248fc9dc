"""The budget solver as a step of a recipe."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, final, get_args

import numpy as np
from torch import nn

from paring.allocate.contenders import Found, contenders
from paring.allocate.contest import best_of
from paring.allocate.in_time import contenders_in_time, is_within
from paring.allocate.losses import Yardstick, yardstick
from paring.allocate.made import folded
from paring.allocate.option import DENSE, Option, Precision, Unit, precision_passes, structure_passes
from paring.allocate.plan import Limits, Plan, fastest_within, foretold, least_of, searched
from paring.allocate.scene import measured_of, stopwatch_of, table_of, whole_of
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.table import Menu, Table
from paring.allocate.units import WIDTHS, Width, units_of
from paring.allocate.whole import Whole
from paring.core.edit import Declined, Progress, Step
from paring.core.recipe import Pass
from paring.core.target import Target
from paring.core.task import Task
from paring.errors import BudgetError, NothingToDoError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.edits.unfuse import unfuse_all

BUDGETS = ("speedup", "shrink", "max_latency_ms", "max_bytes", "max_loss")
MORE = 16  # times as many examples for the few whole plans as for the many options: their losses lie closer together


@dataclass(frozen=True)
class Rulers:
    """What losses of options, and of whole plans where there are several to choose from, are measured with."""

    task: Task
    original: nn.Module
    num_examples: int

    @cached_property
    def options(self) -> Yardstick:
        """Calibration data alone."""
        return yardstick(self.task, self.original, self.num_examples)

    @cached_property
    def plans(self) -> Yardstick:
        """MORE of them, of training data where there is too little other."""
        return yardstick(self.task, self.original, MORE * self.num_examples, also=self.task.train)


@final
@dataclass(frozen=True)
class Allocate(Pass):
    """Width, rank, zeros and bits of every layer together, the least loss within one budget of time and bytes.

    Layers that share channels are chosen for in pairs, all together, or each by itself, whichever loses least. For each
    unit a table of options is built by the closed forms of the passes: what each loses alone (KL of the answers on
    `num_examples` of calibration data; the task's loss where answers are rates or values; a structure's and a
    precision's are added where one is next to nothing), its bytes, and its time in `target`, where each layer shape is
    timed once a machine and `samples` exported models, mixes and the solver's own plans, correct the sum. The knapsack
    of summed losses is solved exactly; its bound and prices are told as it goes. What options add to one another's
    losses, known from how each moves the answers, improves on it by steps of two layers at a time. Of the few best
    plans, among them those of one family alone, the real joint loss decides, on 16 times `num_examples`, of training
    data where there is too little other. Where a time is asked for, the best plan is timed and the sums corrected by
    it till the two agree, each family's too, and no plan is taken whose own time is beyond the budget by more than 1 %.
    `speedup` and `shrink` ask for so many times less than the model's own file, `max_latency_ms` and `max_bytes` for
    absolute figures; `max_loss` asks for the fastest plan that is foretold to lose no more. In `steps`, structure is
    cut part of the way and the tables are built anew; `swaps` neighbours of the solution are tried on the real joint
    loss. `recovery` trains between structure and bits. `coded` counts entropy-coded bytes, with options of
    `sparsities`. `widths` are fractions of channels removed, `ranks` of numbers kept; an empty list leaves a family
    out.
    Raises: BudgetError if the options do not reach the budget.
    Reference: Frantar & Alistarh 2022 (SPDY), arXiv:2201.13096; Kurtic et al. 2023 (ZipLM), arXiv:2302.04089.
    """

    name: ClassVar[str] = "allocate"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights", "integer embeddings"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer layers leave nothing to choose. Put allocate first.",
        "integer embeddings": "integer tables leave nothing to choose. Put allocate first.",
        "zeros": "a low rank would fill the zeros. Put allocate first; its sparsities make zeros too.",
    }

    speedup: float | None = None
    shrink: float | None = None
    max_latency_ms: float | None = None
    max_bytes: int | None = None
    max_loss: float | None = None
    target: Target = field(default_factory=Target)
    widths: tuple[float, ...] = (0.25, 0.5, 0.75)
    ranks: tuple[float, ...] = (0.25, 0.5)
    sparsities: tuple[float, ...] = (0.5, 0.75)
    precisions: tuple[Precision, ...] = get_args(Precision)
    coded: bool = False
    num_examples: int = 256
    samples: int = 20
    steps: int = 1
    swaps: int = 0
    recovery: Finetune | None = None

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in BUDGETS}
        if all(value is None for value in limits.values()):
            raise SettingError(f"{self.name}: it needs a budget. Give {', '.join(limits)}, one or several.")
        for name, value in limits.items():
            if value is not None and not value > 0:
                raise SettingError(f"{self.name}: {name} is {value}; it must be above 0.")
        if self.max_loss is not None and (self.speedup or self.max_latency_ms):
            raise SettingError(f"{self.name}: max_loss finds the least time itself. Leave speedup, max_latency_ms out.")
        if self.max_loss is not None and self.steps > 1:
            raise SettingError(f"{self.name}: max_loss is of one table, and steps is {self.steps}; it must be 1.")
        for name in ("widths", "ranks", "sparsities"):
            for value in getattr(self, name):
                if not 0 < value < 1:
                    raise SettingError(f"{self.name}: {name} holds {value}; each must lie between 0 and 1.")
        for precision in self.precisions:
            if precision not in get_args(Precision):
                raise UnknownNameError("precision", precision, get_args(Precision), self.name)
        for name, least in (("num_examples", 1), ("samples", 2), ("steps", 1), ("swaps", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{self.name}: {name} is {getattr(self, name)}; it must be at least {least}.")

    def requirements(self) -> frozenset[str]:
        """What the recovery asks for too."""
        return self.needs | (frozenset() if self.recovery is None else self.recovery.requirements())

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`; `Progress` tells the plan, its gap and its prices."""
        yield from unfuse_all(model)
        rulers = Rulers(task, copy.deepcopy(model).eval(), self.num_examples)
        first: Whole | None = None
        for number in range(1, self.steps + 1):
            base = folded(model, task.example_inputs)
            _, declined = self.units(base, task, width="apart" if self.widths else "kept")
            best = yield from self._best(base, task, rulers, first, number / self.steps)
            first = first or best.whole
            yield Progress(number, self.steps, f"step {number}: {best.plan}")
            choice = best.plan.choice
            if number == self.steps:
                yield from declined
                if self.swaps:
                    choice = yield from self._neighbour(best, base, rulers)
            yield from self._run(structure_passes(choice), model, task)
        if self.recovery is not None:
            yield from self.recovery.run(model, task)
        yield from self._run(precision_passes(choice), model, task)
        for unit, option in choice.items():
            if option == DENSE:
                yield from (Declined(layer, "left as it is: the budget is met without it") for layer in unit.layers)

    def plan(self, model: nn.Module, task: Task) -> Generator[Progress, None, tuple[Plan, Table, Whole, Yardstick]]:
        """The plan alone, in one step, for a plain model: nothing is changed. Raises BudgetError."""
        rulers = Rulers(task, model, self.num_examples)
        base = folded(model, task.example_inputs)
        best = yield from self._best(base, task, rulers, None, 1.0)
        return best.plan, best.table, best.whole, rulers.options

    def _neighbour(
        self, best: Found, base: nn.Module, rulers: Rulers
    ) -> Generator[Progress, None, Mapping[Unit, Option]]:
        """The best of `swaps` neighbours; the plan itself, where that one is beyond a time that is asked for."""
        choice, _ = yield from searched(best.plan, best.table, best.whole, best.limits, base, rulers.plans, self.swaps)
        if best.stopwatch is None:
            return choice
        with best.stopwatch as stopwatch:
            ms = yield from stopwatch.ms(choice)
        return choice if is_within(ms, best.limits) else best.plan.choice

    def _best(
        self, base: nn.Module, task: Task, rulers: Rulers, first: Whole | None, share: float
    ) -> Generator[Progress, None, Found]:
        """The contender that loses least. Raises BudgetError if none fits."""
        tables, whole, stopwatch = yield from self._scene(base, task, rulers)
        limits = self._limits(tables, whole, first, share)
        if np.isfinite(limits.ms) and self.max_loss is None:
            with stopwatch:
                found = yield from contenders_in_time(tables, whole, limits, stopwatch)
        else:
            best, *others = contenders(tables, whole, limits)
            found = [best, *(one for one in others if self.max_loss is None or one.plan.loss <= self.max_loss)]
        return (yield from best_of(found, base, lambda: rulers.plans))

    def _scene(
        self, base: nn.Module, task: Task, rulers: Rulers
    ) -> Generator[Progress, None, tuple[list[Table], Whole, Stopwatch]]:
        """Tables for units that differ, the one correction of their times, and what times plans."""
        tables: dict[tuple[Unit, ...], Table] = {}
        alone, _ = self.units(base, task, width="kept")
        measured = measured_of(base, alone, self.menu(), rulers.options)
        for width in WIDTHS if self.widths else WIDTHS[-1:]:
            units = alone if width == "kept" else self.units(base, task, width=width)[0]
            if tuple(units) not in tables:
                tables[tuple(units)] = yield from table_of(units, self.menu(), measured)
        whole = yield from whole_of(list(tables.values()), self.menu(), measured, samples=self.samples)
        return list(tables.values()), whole, stopwatch_of(self.menu(), measured, whole.dense_ms)

    def _limits(self, tables: list[Table], whole: Whole, first: Whole | None, share: float) -> Limits:
        """Of all tables; with `max_loss`, the least time that one of them reaches. Raises BudgetError."""
        limits = self.limits(first or whole, share)
        if self.max_loss is None:
            return limits
        starts = list[tuple[Plan, Table]]()
        missed = list[tuple[float, BudgetError]]()
        for table in tables:
            try:
                starts.append((foretold(table, whole, limits), table))
            except BudgetError as error:
                missed.append((least_of(table, whole).over(limits), error))
        if not starts:
            raise min(missed, key=lambda miss: miss[0])[1]
        least = min(plan.loss for plan, _ in starts)
        if least > self.max_loss:
            raise BudgetError(
                f"allocate: the least that its options are foretold to lose within the budget is {least:.4g}, and "
                f"max_loss asks for {self.max_loss:.4g}. Allow more, or give more options."
            )
        ms = min(
            fastest_within(table, whole, self.max_loss, limits, plan)
            for plan, table in starts
            if plan.loss <= self.max_loss
        )
        return replace(limits, ms=ms)

    def units(self, base: nn.Module, task: Task, *, width: Width) -> tuple[list[Unit], list[Declined]]:
        """What is chosen for together. Raises NothingToDoError."""
        found, declined = units_of(self, base, task, width=width)
        if not found:
            reasons = "; ".join(f"{one.layer}: {one.reason}" for one in declined)
            raise NothingToDoError(f"{self.name}: no layer that it can treat is left ({reasons}).")
        return found, declined

    def menu(self) -> Menu:
        """Which options there are."""
        return Menu(self.widths, self.ranks, self.sparsities, self.precisions, self.target, self.coded)

    def limits(self, whole: Whole, share: float = 1.0) -> Limits:
        """The budget in figures; before the last step only `share` of the way there, in ratio."""
        wanted_ms = [self.max_latency_ms or np.inf, whole.dense_ms / (self.speedup or 0.0) if self.speedup else np.inf]
        wanted_bytes = [float(self.max_bytes or np.inf), whole.dense_bytes / self.shrink if self.shrink else np.inf]
        pairs = ((whole.dense_ms, min(wanted_ms)), (whole.dense_bytes, min(wanted_bytes)))
        ms, num_bytes = (
            limit if not np.isfinite(limit) else dense * (limit / dense) ** share for dense, limit in pairs
        )
        return Limits(ms, num_bytes)

    def _run(self, steps: list[Pass], model: nn.Module, task: Task) -> Iterator[Step]:
        for step in steps:
            try:
                yield from step.run(model, task)
            except NothingToDoError as error:  # all that it was to treat was taken away by a step before
                yield Declined(", ".join(step.include), str(error))
