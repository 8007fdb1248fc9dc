"""Which whole models the clock is fitted to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import paring.allocate.fitting
from paring.allocate.fitting import Timed, mixes_of, node_bytes_of, plans_of
from paring.allocate.made import folded
from paring.allocate.option import Option, Unit
from paring.allocate.plan import least_of
from paring.allocate.step import Allocate
from paring.allocate.table import Entry, families
from paring.core.stream import drain
from paring.core.target import Target
from tests.allocate.tables import planted
from tests.nets import image_task
from tests.runs import tiny_task


def test_every_other_mix_is_mostly_of_one_precision_int8_first() -> None:
    table, _ = planted(40)
    mixes = mixes_of(table, 10, 0)
    shares = [sum(one.option.precision == "int8" for one in mix.values()) / len(mix) for mix in mixes]
    assert len(mixes) == 10 and shares[:2] == [0.0, 1.0]  # as it is, then int8 everywhere
    assert shares[3] > 0.75 and shares[5] < 0.25 and shares[7] > 0.75
    assert all(0.25 < shares[place] < 0.75 for place in (2, 4, 6, 8))


def test_the_clock_is_fitted_to_plans_too_from_the_fastest_on_and_of_bits_alone() -> None:
    table, whole = planted(12)
    plans = plans_of([table], whole, 10)
    bits = [all(entry.option.structure == "dense" for entry in plan.values()) for plan in plans]
    ms = [whole.ms(list(plan.values())) for plan in plans]
    assert len(plans) == 10 and all(bits[1::2]) and not bits[0]
    for part, own in ((table, ms[::2]), (next(families(table)), ms[1::2])):
        least = least_of(part, whole).ms
        assert own == sorted(own) and least <= own[0] < 1.02 * least and own[-1] > 0.6 * whole.dense_ms
    assert ms[0] < 0.75 * ms[1]  # widths reach further than bits


def test_every_table_gives_its_fastest_plan() -> None:
    tables = [planted(num_units, seed)[0] for num_units, seed in ((12, 0), (3, 1), (6, 2))]
    plans = plans_of(tables, planted(12)[1], 5)
    assert [len(plan) for plan in plans] == [12, 3, 6, 6, 12]  # the fourth is of bits alone


@pytest.mark.parametrize("structures", [("dense",), ("dense", "width")])
def test_where_bits_alone_are_no_other_choice_every_plan_is_a_new_one(structures: tuple[str, ...]) -> None:
    table, whole = planted(12)
    precisions = {"float", "int8"} if structures == ("dense",) else {"float"}
    part = {
        unit: [one for one in entries if one.option.structure in structures and one.option.precision in precisions]
        for unit, entries in table.items()
    }
    plans = plans_of([part], whole, 6)
    choices = {tuple(str(entry.option) for entry in plan.values()) for plan in plans}
    assert len(plans) == len(choices) == 6 and ("float",) * 12 not in choices


def test_every_precision_is_seen_in_all_layers_however_few_the_samples() -> None:
    task = image_task()
    step = Allocate(shrink=1.0, widths=(), ranks=(), num_examples=32, samples=2)
    _, table, whole, _ = drain(step.plan(task.model, task))
    precisions = {entry.option.precision for entries in table.values() for entry in entries}
    assert len(precisions) == 4 and set(whole.node_bytes) == precisions - {"float"}
    assert len(whole.residuals) == 4


def test_whole_models_are_timed_once_each(tmp_path: Path) -> None:
    task = tiny_task()
    step = Allocate(shrink=2.0)
    units, _ = step.units(folded(task.model, task.example_inputs), task, width="kept")
    entry = Entry(Option(), 0.0, 0.0, {}, 1)
    timed = Timed(task.model, Target(), task, tmp_path)
    together = Unit("all", tuple(layer for unit in units for layer in unit.layers))  # the same model
    drain(timed.add([dict.fromkeys(units, entry), dict.fromkeys(units, entry), {together: entry}], 3))
    assert len(timed.mixes) == 1 and timed.fit(2).dense_ms > 0 and timed.fit(2, 7.0).overhead_bytes == 7.0


def test_the_fit_finds_what_stands_behind_the_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, units = tiny_task(), [Unit(f"u{place}", (f"u{place}",)) for place in range(3)]
    sizes = [(ms, outputs) for ms in (1.0, 2.0, 4.0) for outputs in (0.1, 0.3)]
    mixes = [dict.fromkeys(units, Entry(Option(), 0.0, 1.0, {"float": ms}, 1, outputs=outs)) for ms, outs in sizes]
    timed = Timed(task.model, Target(), task, tmp_path, mixes, [9.0] * len(mixes), dict.fromkeys("012345", print))
    taken = SimpleNamespace(quiet_ms=lambda name: 0.5 + 3 * (sizes[int(name)][0] + 2 * sizes[int(name)][1]))
    monkeypatch.setattr(paring.allocate.fitting, "interleave", lambda *args, **kwargs: taken)
    whole = timed.fit(1)
    assert (whole.weights[0], whole.weights[1], whole.weights[-1]) == pytest.approx((0.5, 1.0, 2.0))


def test_what_a_precision_takes_in_the_graph_is_told_by_all_layers_in_it_not_by_some() -> None:
    table, _ = planted(4)
    plain, every, *_ = mixes_of(table, 2, 0)
    units = list(table)
    some = plain | {units[0]: every[units[0]]}  # its other floats may be stored in another way
    assert node_bytes_of([plain, every, some], [100.0, 180.0, 20.0]) == {"int8": 20.0}
