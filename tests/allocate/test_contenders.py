"""Plans within a time that was taken, not foretold."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import paring.allocate.contest
import paring.allocate.step
import paring.allocate.stopwatch
from paring.allocate.contenders import CLOSE, Found, contenders, contenders_in_time, different, near
from paring.allocate.contest import best_of
from paring.allocate.interplay import Interplay
from paring.allocate.option import DENSE, Choice, Option, Unit
from paring.allocate.plan import Limits, least_of, plan_of
from paring.allocate.scene import stopwatch_of
from paring.allocate.step import Allocate, Rulers
from paring.allocate.stopwatch import PLAN, Stopwatch
from paring.allocate.table import Entry, Table, families
from paring.allocate.whole import Whole
from paring.core.edit import Progress
from paring.core.stream import drain
from paring.core.target import Target
from paring.errors import BudgetError, CorruptFileError
from tests.allocate.tables import planted
from tests.nets import image_task
from tests.runs import tiny_task


class Told:
    """A stopwatch whose times are a figure's own."""

    def __init__(self, time_of: Callable[[Choice], float]) -> None:
        self.time_of, self.asked = time_of, list[Choice]()

    def ms(self, choice: Choice) -> Generator[Progress, None, float]:
        self.asked.append(choice)
        return self.time_of(choice)
        yield


def foretold_ms(table: Table, whole: Whole, choice: Choice) -> float:
    return whole.ms([next(one for one in table[unit] if one.option == choice[unit]) for unit in table])


class Ruler:
    """Losses as they were foretold, in place of a model's."""

    task = None

    def __init__(self, table: Table) -> None:
        self.interplay = Interplay(table)

    def loss(self, choice: Choice) -> float:
        return self.interplay.loss(choice)


def in_time(table: Table, whole: Whole, limits: Limits, told: Told) -> list[Found]:
    found: list[Found] = drain(contenders_in_time([table], whole, limits, told))  # type: ignore[arg-type]
    return found


def best(table: Table, whole: Whole, limits: Limits, told: Told, monkeypatch: pytest.MonkeyPatch) -> Found:
    monkeypatch.setattr(paring.allocate.contest, "joint", lambda model, task, choice: choice)
    found = in_time(table, whole, limits, told)
    chosen: Found = drain(best_of(found, None, lambda: Ruler(table), told))  # type: ignore[arg-type]
    return chosen


@pytest.mark.parametrize("truth", [0.8, 1.0, 1.2])
def test_the_plan_keeps_the_time_that_was_taken_however_far_the_foretold_one_is_off(
    truth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, whole = planted(24)
    told = Told(lambda choice: truth * foretold_ms(table, whole, choice))
    limits = Limits(ms=0.7 * whole.dense_ms)
    one = best(table, whole, limits, told, monkeypatch)
    assert one.plan.loss == pytest.approx(plan_of(table, whole.scaled(truth), limits).loss)
    assert one.plan.ms == truth * foretold_ms(table, whole, one.plan.choice)
    assert 0.95 * limits.ms < one.plan.ms <= (1 + CLOSE) * limits.ms
    assert len({tuple(one.values()) for one in told.asked}) <= 5


def test_what_is_within_the_time_against_all_that_is_foretold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Int8 in all layers, foretold a fifth too much."""
    table, whole = planted(12)
    int8 = {unit: Option(precision="int8") for unit in table}
    limits = Limits(ms=foretold_ms(table, whole, int8) / 1.2)
    told = Told(lambda choice: limits.ms * (1.0 if choice == int8 else 1.2))
    assert best(table, whole, limits, told, monkeypatch).plan.choice == int8


def test_a_plan_beyond_the_time_gives_way_to_one_within_that_loses_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However near the two are by what is foretold, and even where it is not near."""
    table, whole = planted(24)
    limits = Limits(ms=0.6 * whole.dense_ms)
    every = different(contenders([table], whole, limits))
    assert len(every) > len(near(every)) > 1
    monkeypatch.setattr(paring.allocate.contest, "joint", lambda model, task, choice: choice)
    for wanted in every:
        told = Told(lambda choice, own=wanted.plan.choice: limits.ms * (1.0 if choice == own else 1.1))  # type: ignore[misc]
        chosen = drain(best_of(every, None, lambda: Ruler(table), told))  # type: ignore[arg-type]
        assert chosen.plan.choice == wanted.plan.choice and chosen.plan.ms == limits.ms


def test_where_no_plan_is_within_the_time_the_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table, whole = planted(4)
    told = Told(lambda choice: 10 + foretold_ms(table, whole, choice))
    limits = Limits(ms=0.7 * whole.dense_ms)
    one = best(table, whole, limits, told, monkeypatch)
    assert one.plan.ms == min(told.time_of(found.plan.choice) for found in in_time(table, whole, limits, told))


def test_what_is_foretold_out_of_reach_is_refused_but_where_a_precision_everywhere_reaches_it() -> None:
    table, whole = planted(4)
    bits = next(families(table))
    with pytest.raises(BudgetError, match="the least that its options reach"):
        in_time(bits, whole, Limits(ms=0.01 * whole.dense_ms), Told(lambda choice: 0.0))  # FAR beyond: not even timed
    limits = Limits(ms=0.9 * least_of(bits, whole).ms)
    for ms, reached in ((limits.ms, 1), (1.1 * limits.ms, 0)):
        told = Told(lambda choice, ms=ms: ms)  # type: ignore[misc]
        with nullcontext() if reached else pytest.raises(BudgetError, match="the least that its options reach"):
            assert len(in_time(bits, whole, limits, told)) == reached
        assert len(told.asked) == 1


def test_embeddings_may_stay_as_they_are_where_all_layers_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (DENSE, Option(precision="int8"))
    table = {
        Unit(name, (name,), is_table=name == "t"): [
            Entry(option, 0.01 * row, 10.0 - row, {("int8" if row else "float"): 1.0 - 0.5 * row}, 1)
            for row, option in enumerate(options)
        ]
        for name in ("t", "a", "b")
    }
    whole = Whole((0.0, 1.0, 1.0, 1.0, 1.0, 0.0), (), 0.0, 3.0, 30.0)
    wanted = {unit: options[not unit.is_table] for unit in table}
    told = Told(lambda choice: 1.0 if choice == wanted else 9.0)
    assert best(table, whole, Limits(ms=1.9), told, monkeypatch).plan.choice == wanted


def test_a_time_is_asked_of_the_stopwatch_and_bytes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    task, asked = image_task(), list[Choice]()
    small = {"widths": (0.5,), "ranks": (), "precisions": ("int8",), "num_examples": 32, "samples": 3}

    def ms(self: Stopwatch, choice: Choice) -> Generator[Progress, None, float]:
        asked.append(choice)
        return 0.5 * self.dense_ms
        yield

    monkeypatch.setattr(Stopwatch, "ms", ms)
    plan, _, whole, _ = drain(Allocate(speedup=1.01, **small).plan(task.model, task))  # type: ignore[arg-type]
    assert asked and plan.ms == 0.5 * whole.dense_ms
    asked.clear()
    drain(Allocate(shrink=1.5, **small).plan(task.model, task))  # type: ignore[arg-type]
    assert not asked


def test_a_plan_is_timed_once_beside_the_model_as_it_came(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    task, path, taken = tiny_task(), tmp_path / "plans.json", list[list[str]]()
    choice = {Unit("u", ("0",)): Option(precision="int8")}

    def interleave(runners: dict[str, object], **_: object) -> object:
        taken.append([Path(one).name for one in runners.values()])  # type: ignore[arg-type]
        return SimpleNamespace(folder=Path(next(iter(runners.values()))).parent)  # type: ignore[arg-type]

    monkeypatch.setattr(paring.allocate.stopwatch, "interleave", interleave)
    monkeypatch.setattr(paring.allocate.stopwatch, "runner_of", lambda model, target, task, path: path)
    monkeypatch.setattr(paring.allocate.stopwatch, "compare", lambda *_: SimpleNamespace(ratio=4.0))
    for _ in range(2):
        with Stopwatch(task.model, Target(), task, 3.0, path) as stopwatch:
            folder = stopwatch._folder
            assert drain(stopwatch.ms(choice)) == 0.75 and drain(stopwatch.ms(choice)) == 0.75
        assert not folder.exists()
    assert len(taken) == 1 and taken[0][0] == "dense.onnx" and PLAN not in taken[0]
    path.write_text("[")
    with pytest.raises(CorruptFileError, match="Remove it"):
        Stopwatch(task.model, Target(), task, 3.0, path)


def test_a_plan_runs_in_the_engine() -> None:
    task = image_task()
    step = Allocate(speedup=1.1, widths=(), ranks=(), num_examples=32, samples=2)
    base, rulers = task.model, Rulers(task, task.model, 32)
    units, _ = step.units(base, task, width="kept")
    measured = paring.allocate.step.measured_of(base, units, step.menu(), rulers.options)
    with stopwatch_of(step.menu(), measured, 2.0) as stopwatch:
        ms = drain(stopwatch.ms({unit: Option(precision="int8") for unit in units}))
        assert np.isfinite(ms) and ms > 0 and list(stopwatch._folder.glob("*.onnx"))
    assert stopwatch_of(step.menu(), measured, 2.0).path.is_file()
    assert stopwatch_of(replace(step, ranks=(0.5,)).menu(), measured, 2.0).path == stopwatch.path
