"""Plans within a time that was taken, not foretold."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from types import SimpleNamespace

import pytest

import paring.allocate.contest
import paring.allocate.in_time
import paring.allocate.step
from paring.allocate.contenders import Found, contenders, different, near
from paring.allocate.contest import best_of
from paring.allocate.in_time import CLOSE, FAR, contenders_in_time
from paring.allocate.interplay import Interplay
from paring.allocate.option import DENSE, Choice, Option, Unit
from paring.allocate.plan import Limits, least_of, plan_of
from paring.allocate.step import Allocate
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.table import Entry, Table, families
from paring.allocate.whole import Whole
from paring.core.edit import Progress
from paring.core.stream import drain
from paring.errors import BudgetError
from tests.allocate.tables import planted
from tests.nets import image_task


class Told:
    """A stopwatch whose times are a figure's own."""

    def __init__(self, time_of: Callable[[Choice], float]) -> None:
        self.time_of, self.asked = time_of, list[Choice]()

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ms(self, choice: Choice) -> Generator[Progress, None, float]:
        self.asked.append(choice)
        return self.time_of(choice)
        yield


def entries(table: Table, choice: Choice) -> list[Entry]:
    return [next(one for one in table[unit] if one.option == choice[unit]) for unit in table]


def foretold_ms(table: Table, whole: Whole, choice: Choice) -> float:
    return whole.ms(entries(table, choice))


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
    chosen: Found = drain(best_of(found, None, lambda: Ruler(table)))  # type: ignore[arg-type,return-value]
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


def test_a_plan_beyond_the_time_gives_way_to_one_within_that_loses_more() -> None:
    """However near the two are by what is foretold, and even where it is not near."""
    table, whole = planted(24)
    limits = Limits(ms=0.6 * whole.dense_ms)
    every = different(contenders([table], whole, limits))
    assert len(every) > len(near(every)) > 1
    for wanted in every:
        told = Told(lambda choice, own=wanted.plan.choice: limits.ms * (1.0 if choice == own else 1.005 * FAR))  # type: ignore[misc]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(paring.allocate.in_time, "TURNS", 1)
            assert [one.plan.choice for one in in_time(table, whole, limits, told)] == [wanted.plan.choice]


def test_of_plans_within_the_time_no_more_are_timed_than_may_be_tried() -> None:
    table, whole = planted(24)
    limits = Limits(ms=0.6 * whole.dense_ms)
    told = Told(lambda choice: foretold_ms(table, whole, choice))
    found = in_time(table, whole, limits, told)
    assert near(found) == found and len(found) == len(near(different(contenders([table], whole, limits))))
    assert all(one.whole.ms(entries(table, one.plan.choice)) == pytest.approx(one.plan.ms) for one in found)


def test_times_are_corrected_until_they_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more is cut, the less time it takes beside what is foretold: each turn's plan is another one's judge."""
    table, whole = planted(24)
    limits = Limits(ms=0.6 * whole.dense_ms)

    def time_of(choice: Choice) -> float:
        cut = sum(option.structure == "width" for option in choice.values()) / len(choice)
        return 1.2 * foretold_ms(table, whole, choice) * (1 - 0.8 * (0.5 - cut))

    left = list[float]()
    for turns in (1, 5):
        monkeypatch.setattr(paring.allocate.in_time, "TURNS", turns)
        left.append(best(table, whole, limits, Told(time_of), monkeypatch).plan.loss)
    assert left[1] < left[0]


@pytest.mark.parametrize("apart", [True, False])
def test_a_family_is_corrected_by_its_own_time(apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits alone take less than times say that are right for a mix, and may keep more, if they are asked themselves."""
    table, whole = planted(24)
    bits, limits = next(families(table)), Limits(ms=0.6 * whole.dense_ms)

    def time_of(choice: Choice) -> float:
        of_bits = all(option.structure == DENSE.structure for option in choice.values())
        return (0.8 if of_bits else 1.0) * foretold_ms(table, whole, choice)

    if not apart:
        monkeypatch.setattr(paring.allocate.in_time, "families", lambda table: [])
    loss = best(table, whole, limits, Told(time_of), monkeypatch).plan.loss
    wanted = plan_of(bits, whole.scaled(0.8), limits).loss
    assert loss <= (1 + 1e-9) * wanted if apart else loss > 1.1 * wanted


def test_where_no_plan_but_the_fastest_is_within_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    table, whole = planted(24)
    fastest = {unit: Option("width", 0.5, "int8") for unit in table}
    told = Told(lambda choice: (1.0 if choice == fastest else 1.3) * foretold_ms(table, whole, choice))
    limits = Limits(ms=1.1 * least_of(table, whole).ms)
    assert best(table, whole, limits, told, monkeypatch).plan.choice == fastest


def test_where_no_plan_is_within_the_time_the_fastest_is_named() -> None:
    table, whole = planted(4)
    told = Told(lambda choice: 10 + foretold_ms(table, whole, choice))
    with pytest.raises(BudgetError) as missed:
        in_time(table, whole, Limits(ms=0.7 * whole.dense_ms), told)
    least = min(map(told.time_of, told.asked))
    assert f"the fastest of its plans takes {least:.4g} ms" in str(missed.value)
    assert least < 1.01 * (10 + least_of(table, whole).ms)


def test_what_is_foretold_out_of_reach_is_refused_unless_what_is_not_far_reaches_it() -> None:
    table, whole = planted(4)
    with pytest.raises(BudgetError, match="the least that its options reach"):
        in_time(table, whole, Limits(ms=0.01 * whole.dense_ms), Told(lambda choice: 0.0))  # not even timed
    bits = next(families(table))
    limits = Limits(ms=0.9 * least_of(bits, whole).ms)
    found = in_time(bits, whole, limits, Told(lambda choice: limits.ms))
    assert [{option.precision for option in one.plan.choice.values()} for one in found] == [{"int8"}]
    assert found[0].plan.bound == 0 and found[0].plan.gap == 1
    with pytest.raises(BudgetError, match="the fastest of its plans takes"):
        in_time(bits, whole, limits, Told(lambda choice: 1.1 * limits.ms))


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
    for budget in ({"shrink": 1.5}, {"max_loss": 1.0}):
        drain(Allocate(**(budget | small)).plan(task.model, task))  # type: ignore[arg-type]
    assert not asked


@pytest.mark.parametrize("beyond", [False, True])
def test_a_neighbour_beyond_the_time_is_not_taken(beyond: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table, whole = planted(4)
    limits = Limits(ms=0.7 * whole.dense_ms)
    told = Told(lambda choice: 0.6 * whole.dense_ms)
    one = in_time(table, whole, limits, told)[0]
    other = dict.fromkeys(table, DENSE)

    def swapped(*_: object) -> Generator[Progress, None, tuple[Choice, float]]:
        return other, 0.0
        yield

    monkeypatch.setattr(paring.allocate.step, "searched", swapped)
    told.time_of = lambda choice: (1.1 if beyond else 1.0) * limits.ms
    step, rulers = Allocate(speedup=2.0, swaps=1), SimpleNamespace(plans=None)
    assert drain(step._neighbour(one, None, rulers)) == (one.plan.choice if beyond else other)  # type: ignore[arg-type]
    alone = replace(one, stopwatch=None)
    assert drain(step._neighbour(alone, None, rulers)) == other  # type: ignore[arg-type]
