"""What options lose together, foretold from how each moves the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional

from paring.allocate.interplay import HELD, Interplay
from paring.allocate.losses import divergence, yardstick
from paring.allocate.made import folded, made
from paring.allocate.measured import Measured
from paring.allocate.moves import MOST_NUMBERS, _folded, as_long_as, direction_of, from_bytes, to_bytes
from paring.allocate.option import Option, Unit, precision_passes
from paring.allocate.plan import Limits, improved, plan_of
from paring.allocate.step import Allocate
from paring.allocate.table import Entry, Table
from paring.allocate.units import units_of
from paring.allocate.whole import Whole, joint
from paring.core.stream import drain
from paring.core.task import Task
from tests.allocate.test_step import SMALL, planted
from tests.nets import image_task

Loss = Callable[[Tensor, Tensor], Tensor]


def task_with(loss: Loss) -> Task:
    return replace(image_task(), loss=loss)


@pytest.mark.parametrize(
    ("kind", "shape", "loss"),
    [
        ("classes", (400, 5), functional.cross_entropy),
        ("logit", (400,), functional.binary_cross_entropy_with_logits),
        ("log rate", (400,), functional.poisson_nll_loss),
        ("value", (400,), functional.mse_loss),
        ("squares", (400, 1), functional.mse_loss),
    ],
)
def test_small_moves_add_up(kind: str, shape: tuple[int, ...], loss: Loss) -> None:
    generator = torch.Generator().manual_seed(0)
    task = task_with(loss)
    before, one, other = (torch.randn(shape, generator=generator) for _ in range(3))
    one, other = 0.05 * one, 0.04 * other + 0.03 * one  # they have a part in common
    lost = [divergence(before, before + move, kind, task) for move in (one, other, one + other)]
    moves = [
        as_long_as(direction_of(before, before + move, kind), loss)
        for move, loss in zip((one, other), lost, strict=False)
    ]
    assert [float(move @ move) / 2 for move in moves] == pytest.approx(lost[:2])
    assert lost[0] + lost[1] + float(moves[0] @ moves[1]) == pytest.approx(lost[2], rel=0.02)
    assert lost[0] + lost[1] < 0.8 * lost[2]


def test_what_moves_nothing_has_no_length() -> None:
    before = torch.randn(8, 3)
    assert not direction_of(before, before, "classes").any()
    assert not as_long_as(np.zeros(3), 1.0).any()


def test_long_moves_are_folded_and_their_products_stay() -> None:
    generator = torch.Generator().manual_seed(1)
    before, shared = torch.randn(900, 10, generator=generator), torch.randn(900, 10, generator=generator)
    moves = []
    for weight in (0.5, 1.0):
        after = before + 0.01 * (shared + weight * torch.randn(900, 10, generator=generator))
        moves.append(direction_of(before, after, "classes"))
    assert len(moves[0]) == MOST_NUMBERS < before.numel()
    cosine = 1 / np.sqrt((1 + 0.25) * (1 + 1))
    assert float(moves[0] @ moves[1]) == pytest.approx(cosine, abs=0.08)


def test_every_machine_folds_alike() -> None:
    found = _folded(np.arange(5000.0))
    assert found[:4].tolist() == [3237.0, -625.0, -143.0, 2801.0] and len(found) == MOST_NUMBERS


def test_a_direction_goes_through_json() -> None:
    direction = np.array([1.0, -0.25, 1e-4])
    entry = Entry(Option(), 0.0, 1.0, {}, 0, to_bytes(direction))
    kind = TypeAdapter(Entry)
    assert kind.validate_json(kind.dump_json(entry)) == entry
    assert from_bytes(entry.direction) == pytest.approx(direction, rel=1e-3)
    assert len(from_bytes(b"")) == 0


def moved(num_units: int = 4, seed: int = 0) -> tuple[Table, Whole]:
    """A planted table whose options move the answers in few directions, so that many add to one another."""
    table, whole = planted(num_units, seed)
    rng = np.random.default_rng(seed)
    return {
        unit: [replace(entry, direction=to_bytes(rng.standard_normal(3))) for entry in entries]
        for unit, entries in table.items()
    }, whole


def together(choice: dict[Unit, Entry]) -> float:
    total = np.sum([as_long_as(from_bytes(entry.direction), entry.loss) for entry in choice.values()], axis=0)
    own = sum(entry.loss for entry in choice.values())
    return own + HELD * (float(total @ total) / 2 - own)


def test_a_mix_loses_what_its_summed_moves_say() -> None:
    table, _ = moved()
    interplay = Interplay(table)
    for rows in product(range(4), repeat=4):
        choice = {unit: entries[row] for (unit, entries), row in zip(table.items(), rows, strict=True)}
        options = {unit: entry.option for unit, entry in choice.items()}
        assert interplay.loss(options) == pytest.approx(together(choice), abs=1e-7)
        assert interplay.choice(interplay.places(options)) == options


def test_changes_are_those_of_the_losses() -> None:
    table, _ = moved()
    interplay = Interplay(table)
    places = np.array([1, 6, 9, 12])
    now = interplay.loss(interplay.choice(places))
    changes = interplay.changes(places)
    for one, other in product(range(16), repeat=2):
        if (one // 4 >= other // 4 and one != other) or {one, other} & set(places.tolist()):
            assert np.isinf(changes[one, other])
            continue
        after = places.copy()
        after[one // 4], after[other // 4] = one, other
        assert changes[one, other] == pytest.approx(interplay.loss(interplay.choice(after)) - now, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_an_improved_plan_keeps_its_limits_and_loses_no_more(seed: int) -> None:
    table, whole = moved(seed=seed)
    limits = Limits(ms=3.0, num_bytes=2500)
    plan = plan_of(table, whole, limits)
    better = improved([plan], table, whole, limits)
    assert better.loss <= plan.loss and better.ms <= limits.ms and better.num_bytes <= limits.num_bytes
    assert better.bound == plan.bound <= plan.summed <= better.summed
    assert better.gap == pytest.approx((better.summed - better.bound) / better.summed)
    chosen = {unit: next(e for e in table[unit] if e.option == option) for unit, option in better.choice.items()}
    assert better.loss == pytest.approx(together(chosen), abs=1e-7)
    for (one, new), (other, also) in product([(unit, e) for unit, entries in table.items() for e in entries], repeat=2):
        near = chosen | {one: new, other: also}
        entries = list(near.values())
        if whole.ms(entries) <= limits.ms and whole.num_bytes(entries) <= limits.num_bytes:
            assert together(near) >= better.loss - 1e-7


def test_two_that_cancel_are_taken_together() -> None:
    table, whole = planted(2)
    losses = {Option(): (0.0, 0.0), Option(precision="int8"): (0.0101, 0.1), Option("width", 0.5): (0.008, 0.0)}
    first, second = table
    for sign, unit in ((1.0, first), (-1.0, second)):
        table[unit] = [
            replace(entry, loss=loss, direction=to_bytes(np.array([sign * tilt, np.sqrt(2 * loss - tilt**2)])))
            for entry in table[unit]
            if entry.option in losses
            for loss, tilt in [losses[entry.option]]
        ]
    limits = Limits(num_bytes=1200)
    plan = plan_of(table, whole, limits)
    better = improved([plan], table, whole, limits)
    assert set(plan.choice.values()) == {Option("width", 0.5)}
    assert plan.loss == pytest.approx(0.016 + HELD * 0.016)  # twice as far is four times the loss
    assert set(better.choice.values()) == {Option(precision="int8")}
    assert better.loss == pytest.approx(0.02032, rel=1e-3) and better.summed == pytest.approx(0.0202)
    changes = Interplay(table).changes(Interplay(table).places(plan.choice))
    assert np.diag(changes)[[1, 4]].min() > 0 > changes[1, 4]  # neither does alone


def test_another_start_may_lead_further_and_is_held_to_the_same_bound() -> None:
    table, whole = moved(seed=3)
    limits = Limits(num_bytes=2500)
    plan = plan_of(table, whole, limits)
    smallest = {unit: entries[-1].option for unit, entries in table.items()}
    start = replace(plan, choice=smallest, loss=Interplay(table).loss(smallest))
    other = improved([plan, start], table, whole, limits)
    assert other.loss <= min(improved([plan], table, whole, limits).loss, start.loss) and other.num_bytes <= 2500
    assert (other.bound, other.loss_per_kb) == (plan.bound, plan.loss_per_kb)


def test_a_table_of_one_unit_has_neighbours() -> None:
    table, _ = planted(1)
    [entries] = table.values()
    changes = Interplay(table).changes(np.array([1]))
    losses = [entry.loss - entries[1].loss if place != 1 else np.inf for place, entry in enumerate(entries)]
    assert np.diag(changes) == pytest.approx(losses)


def test_options_are_measured_with_their_moves_and_foretell_the_whole_better() -> None:
    task = image_task()
    step = Allocate(shrink=1.0, **(SMALL | {"precisions": ("int8", "int4")}))
    _, table, _, ruler = drain(step.plan(task.model, task))
    interplay, base = Interplay(table), folded(task.model, task.example_inputs)
    errors = []
    for precision in ("int4", "int8"):
        mix = {
            unit: next((e for e in entries if e.option.precision == precision), entries[0])
            for unit, entries in table.items()
        }
        for entry in mix.values():
            assert (entry.loss > 0) == bool(entry.direction)
            assert not entry.direction or np.linalg.norm(from_bytes(entry.direction)) == pytest.approx(1, rel=1e-2)
        options = {unit: entry.option for unit, entry in mix.items()}
        real = ruler.loss(joint(base, ruler.task, options))
        errors.append(
            [abs(np.log(told / real)) for told in (interplay.loss(options), sum(e.loss for e in mix.values()))]
        )
    foretold, summed = np.array(errors).mean(0)
    assert foretold < summed, errors


def test_what_a_changed_model_adds_has_no_direction() -> None:
    task = image_task()
    original = folded(task.model, task.example_inputs)
    units, _ = units_of(Allocate(shrink=1.0, **SMALL), original, task, width="kept")
    cut = made(original, task, precision_passes({units[0]: Option(precision="int4")}))
    for model, is_told in ((original, True), (cut, False)):
        measured = Measured(model, units[1:], yardstick(task, original, 96), coded=False, batch_size=1)
        assert bool(measured.option(units[1], Option(precision="int8")).direction) == is_told
