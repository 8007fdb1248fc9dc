"""Of several plans the one that loses least in truth."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import pytest
import torch

import paring.allocate.contest
import paring.allocate.step
from paring.allocate.contenders import MOST, NEAR, Found, contenders
from paring.allocate.contest import best_of
from paring.allocate.losses import Yardstick
from paring.allocate.made import folded
from paring.allocate.option import DENSE, Option, Unit
from paring.allocate.plan import Limits, Plan, improved, plan_of
from paring.allocate.step import MORE, Allocate, Rulers
from paring.allocate.table import Entry, families
from paring.allocate.whole import joint
from paring.core.edit import Progress
from paring.core.stream import drain
from tests.allocate.test_interplay import moved
from tests.allocate.test_step import SMALL, planted
from tests.nets import image_task

OPTIONS = (DENSE, Option(precision="int8"), Option("width", 0.5), Option("width", 0.5, "int8"), Option("rank", 0.25))


class Ruler:
    """Losses by the choice itself, in place of a model."""

    task = None

    def __init__(self, losses: dict[Option, float]) -> None:
        self.losses, self.asked = losses, 0

    def loss(self, choice: dict[Unit, Option]) -> float:
        self.asked += 1
        return self.losses[next(iter(choice.values()))]


def found(option: Option, foretold: float) -> Found:
    table, whole = planted(1)
    plan = replace(plan_of(table, whole, Limits()), choice=dict.fromkeys(table, option), loss=foretold)
    return Found(plan, table, whole, Limits())


def chosen(plans: list[Found], ruler: Ruler, monkeypatch: pytest.MonkeyPatch) -> Found:
    monkeypatch.setattr(paring.allocate.contest, "joint", lambda model, task, choice: choice)
    best: Found = drain(best_of(plans, None, lambda: ruler))  # type: ignore[arg-type]
    return best


def test_the_real_loss_decides_between_plans_that_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [found(option, 1.0 + 0.2 * place) for place, option in enumerate(OPTIONS[1:4])]
    ruler = Ruler(dict(zip(OPTIONS[1:4], (0.9, 0.7, 0.8), strict=True)))
    assert chosen(plans, ruler, monkeypatch) is plans[1] and ruler.asked == 3


def test_a_plan_that_answers_no_numbers_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [found(option, 1.0) for option in OPTIONS[1:3]]
    ruler = Ruler(dict(zip(OPTIONS[1:3], (float("inf"), 0.7), strict=True)))
    assert chosen(plans, ruler, monkeypatch) is plans[1]


def test_far_plans_and_more_than_a_few_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    ruler = Ruler(dict.fromkeys(OPTIONS, 1.0))
    plans = [found(OPTIONS[1], 1.0), found(OPTIONS[2], NEAR * 1.01), found(OPTIONS[1], 1.0)]
    assert chosen(plans, ruler, monkeypatch) is plans[0] and ruler.asked == 0
    many = [found(Option("width", 0.1 * place), 1.0) for place in range(1, MOST + 3)]
    ruler = Ruler({next(iter(one.plan.choice.values())): 1.0 for one in many})
    assert chosen(many, ruler, monkeypatch) is many[0] and ruler.asked == MOST


def test_plans_that_cut_other_layers_of_the_same_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = found(OPTIONS[2], 1.0)
    units = [Unit("u", ("a", "b"), producers) for producers in (("a",), ("a", "b"))]
    plans = [replace(narrow, plan=replace(narrow.plan, choice={unit: OPTIONS[2]})) for unit in units]
    ruler = Ruler({OPTIONS[2]: 1.0})
    assert chosen([*plans, plans[0]], ruler, monkeypatch) is plans[0] and ruler.asked == 2


def test_families_stand_alone() -> None:
    unit = Unit("u", ("u",))
    table = {unit: [Entry(option, 0.0, 1.0, {}, 0) for option in OPTIONS]}
    assert [[entry.option for entry in part[unit]] for part in families(table)] == [
        [DENSE, Option(precision="int8")],
        [DENSE, Option("rank", 0.25)],
        [DENSE, Option("width", 0.5)],
    ]


def test_plans_are_judged_on_more_data_than_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """And every plan, those of one family too, comes before the judge."""
    task, judges, tried = image_task(), [], []

    def noted(plans: list[Found], model: object, ruler_of: Callable[[], Yardstick]) -> Generator[Progress, None, Found]:
        judges.append(ruler_of())
        tried.append(plans)
        return plans[0]
        yield

    monkeypatch.setattr(paring.allocate.step, "best_of", noted)
    step = Allocate(shrink=1.5, **(SMALL | {"num_examples": 8}))
    for given in (task, task, replace(task, train=None)):
        _, _, _, ruler = drain(step.plan(given.model, given))
        assert len(ruler.before) == 32  # a whole batch
    assert [len(judge.before) for judge in judges] == [MORE * 8, MORE * 8, 64]  # 64 of calibration, the rest shuffled
    assert torch.equal(judges[0].before, judges[1].before)
    assert torch.equal(judges[0].before[:64], judges[2].before)
    for plans in tried:
        kinds = [set(one.plan.choice.values()) for one in plans]
        assert any({option.structure for option in one} == {"dense"} and len(one) > 1 for one in kinds)
        assert any({option.precision for option in one} == {"float"} and len(one) > 1 for one in kinds)


def test_what_the_solver_takes_loses_least_of_its_own_plan_and_each_family_alone() -> None:
    task = image_task()
    step = Allocate(shrink=1.5, **(SMALL | {"ranks": (0.5,), "precisions": ("int8", "int4")}))
    plan, table, whole, _ = drain(step.plan(task.model, task))
    ruler, limits = Rulers(task, task.model, step.num_examples).plans, step.limits(whole)
    base = folded(task.model, task.example_inputs)

    def loss_of(one: Plan) -> float:
        return ruler.loss(joint(base, ruler.task, one.choice))

    assert plan.num_bytes <= limits.num_bytes
    others = [plan_of(part, whole, limits) for part in (table, *list(families(table))[:1])]
    near = [one for one in others if one.loss <= NEAR * min(other.loss for other in others)]
    assert all(loss_of(plan) <= loss_of(one) for one in near)


def test_plans_are_tried_as_they_are_and_each_familys_improved_too() -> None:
    """Steps never raise the foretold loss, and would leave no place for the plans that they began at."""
    table, whole = moved(seed=4)
    limits = Limits(num_bytes=2800)
    tried = contenders([table], whole, limits)
    assert tried[0].plan.loss == min(one.plan.loss for one in tried)
    bits = next(families(table))
    own, of_bits = plan_of(table, whole, limits), plan_of(bits, whole, limits)
    better = improved([of_bits], bits, whole, limits)
    assert better.loss < of_bits.loss and own.gap <= 0.02
    choices = [one.plan.choice for one in tried]
    assert all(one.choice in choices for one in (own, of_bits, better))
