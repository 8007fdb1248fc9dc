"""The pass: budgets kept, bounds told, tables reused, bad settings refused."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import paring.allocate.contenders
import paring.allocate.scene
from paring import Recipe, compress, rebuild
from paring.allocate.facts import Facts, digest_of, read_facts, write_facts
from paring.allocate.losses import yardstick
from paring.allocate.made import folded, made
from paring.allocate.measured import Measured
from paring.allocate.option import Option, Unit, precision_passes, shape_passes, structure_passes
from paring.allocate.plan import Limits, fastest_within, least_of, plan_of, searched
from paring.allocate.step import Allocate, Rulers
from paring.allocate.table import Entry
from paring.allocate.whole import Whole, joint
from paring.artifacts.onnx import write_onnx
from paring.candidates import compress_steps
from paring.clock.chain import Conv, Gemm
from paring.clock.table import table_path
from paring.container.file import pack
from paring.core.edit import Progress
from paring.core.stream import drain
from paring.core.target import Target
from paring.errors import BudgetError, CorruptFileError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.recipe_io import parse_recipe, to_yaml
from paring.testing import check_pass
from tests.allocate.tables import planted
from tests.nets import image_task

SMALL = {"widths": (0.5,), "ranks": (), "precisions": ("int8",), "num_examples": 96, "samples": 3}


def test_a_plan_keeps_its_limits_and_proves_its_gap() -> None:
    table, whole = planted()
    plan = plan_of(table, whole, Limits(ms=3.0, num_bytes=3500))
    assert plan.ms <= 3.0 and plan.num_bytes <= 3500
    assert plan.bound <= plan.loss and plan.gap <= 0.02
    assert plan.loss_per_ms > 0 or plan.loss_per_kb > 0
    assert "gap" in str(plan) and "a ms" in str(plan)
    assert plan.residual == pytest.approx(0.01)


def beyond_the_caches(knee_mb: float) -> tuple[dict[Unit, list[Entry]], Whole]:
    """Entries that read a megabyte a kB of theirs; each beyond the knee takes 0.7 ms more."""
    table, plain = planted()
    read = {unit: [replace(one, read_mb=one.num_bytes / 1000) for one in entries] for unit, entries in table.items()}
    return read, replace(plain, knee_mb=knee_mb, ms_per_mb=0.7)


def test_what_the_caches_do_not_hold_takes_time() -> None:
    table, whole = beyond_the_caches(2.0)
    for place, read_mb in ((0, 6.0), (3, 1.5)):
        entries = [one[place] for one in table.values()]
        held = replace(whole, ms_per_mb=0.0).ms(entries)
        assert whole.ms(entries) == pytest.approx(held + 0.7 * max(0.0, read_mb - 2.0))


def test_what_stands_behind_the_layers_takes_time_by_their_outputs() -> None:
    table, whole = planted()
    entries = [replace(one[0], outputs=0.5) for one in table.values()]
    behind = replace(whole, weights=(*whole.weights[:-1], 0.2))
    assert behind.ms(entries) == pytest.approx(whole.ms(entries) + 6 * 0.5 * 0.2)


@pytest.mark.parametrize("knee_mb", [0.0, 100.0])
def test_all_times_are_scaled_but_the_models_own(knee_mb: float) -> None:
    table, whole = beyond_the_caches(knee_mb)
    entries, scaled = [own[0] for own in table.values()], whole.scaled(1.5)
    assert scaled.ms(entries) == pytest.approx(1.5 * whole.ms(entries)) and scaled.dense_ms == whole.dense_ms


@pytest.mark.parametrize("knee_mb", [0.0, 2.0, 3.0, 4.0, 100.0])
def test_a_plan_is_the_best_within_both_times(knee_mb: float) -> None:
    table, whole = beyond_the_caches(knee_mb)
    every = [(sum(one.loss for one in mix), whole.ms(mix)) for mix in itertools.product(*table.values())]
    for ms in (2.5, 4.0, 6.0):
        inside = [loss for loss, taken in every if taken <= ms]
        if not inside:
            with pytest.raises(BudgetError):
                plan_of(table, whole, Limits(ms=ms))
            continue
        plan = plan_of(table, whole, Limits(ms=ms))
        assert plan.ms <= ms * (1 + 1e-9) and plan.summed == pytest.approx(min(inside))
        assert plan.bound <= plan.summed * (1 + 1e-9) and plan.gap <= 1e-6 and plan.loss_per_ms >= 0
    assert least_of(table, whole).ms <= min(taken for _, taken in every) * (1 + 1e-9)
    assert plan_of(table, whole, Limits()).loss_per_ms == 0


def test_more_budget_never_loses_more() -> None:
    table, whole = planted()
    losses = [plan_of(table, whole, Limits(ms=ms)).loss for ms in (2.0, 3.0, 4.0, 6.5)]
    assert losses == sorted(losses, reverse=True) and losses[-1] == 0


def test_what_is_out_of_reach_is_named() -> None:
    table, whole = planted()
    with pytest.raises(BudgetError, match=r"least that its options reach is .* ms, and the budget asks for 0.6"):
        plan_of(table, whole, Limits(ms=0.6))
    with pytest.raises(BudgetError, match="bytes"):
        plan_of(table, whole, Limits(num_bytes=150))


@pytest.mark.parametrize("max_loss", [0.003, 0.02])
def test_the_fastest_plan_within_a_loss(max_loss: float) -> None:
    table, whole = planted()
    ms = fastest_within(table, whole, max_loss, Limits(), plan_of(table, whole, Limits()))
    assert plan_of(table, whole, Limits(ms)).loss <= max_loss
    times = np.linspace(least_of(table, whole).ms, 0.99 * ms, 50)
    assert all(plan_of(table, whole, Limits(one)).loss > max_loss for one in times)


def test_the_fastest_plan_within_a_loss_keeps_the_bytes() -> None:
    table, whole = planted()
    small = Limits(num_bytes=1.2 * least_of(table, whole).num_bytes)
    start = plan_of(table, whole, small)
    ms = fastest_within(table, whole, 1.1 * start.loss, small, start)
    assert plan_of(table, whole, replace(small, ms=ms)).num_bytes <= small.num_bytes
    smallest = Limits(num_bytes=least_of(table, whole).num_bytes)
    only = plan_of(table, whole, smallest)
    assert plan_of(table, whole, Limits(fastest_within(table, whole, only.loss, smallest, only))).loss <= only.loss


def test_the_pass_takes_a_loss() -> None:
    task = image_task()
    step = Allocate(max_loss=0.01, **SMALL)  # type: ignore[arg-type]
    plan, *_ = drain(step.plan(task.model, task))
    assert plan.loss <= 0.01
    with pytest.raises(BudgetError, match=r"foretold to lose within the budget is .*, and max_loss asks for 1e-09"):
        drain(replace(step, max_loss=1e-9, shrink=2.0).plan(task.model, task))


def test_of_plans_that_all_miss_the_nearest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    task, step, least = image_task(), Allocate(shrink=90.0, **SMALL), []

    def noted(*args: Any) -> Limits:
        least.append(least_of(*args))
        return least[-1]

    monkeypatch.setattr(paring.allocate.contenders, "least_of", noted)
    with pytest.raises(BudgetError) as missed:
        drain(step.plan(task.model, task))
    assert len(least) > 1 and len({one.num_bytes for one in least}) > 1
    assert f"reach is {min(one.num_bytes for one in least):.4g} bytes" in str(missed.value)
    assert Limits(3.0, 40.0).over(Limits(2.0, 10.0)) == 4.0 and Limits(3.0, 40.0).over(Limits(num_bytes=80)) == 0.5


def test_the_pass_meets_a_file_budget(tmp_path: Path) -> None:
    task = image_task()
    write_onnx(folded(task.model, task.example_inputs), task, tmp_path / "dense.onnx")
    candidate = compress(task, Recipe((Allocate(shrink=1.5, **SMALL),)))
    write_onnx(rebuild(candidate, task), task, tmp_path / "small.onnx")
    dense, small = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("dense", "small"))
    assert small <= dense / 1.5


def test_a_plan_knows_the_file_where_halves_are_stored_for_nothing(tmp_path: Path) -> None:
    """Every weight is one that half precision holds: a file with any half stores the floats in halves too."""
    task = image_task()
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.copy_(parameter.half())
    step = Allocate(shrink=1.0, **(SMALL | {"ranks": (0.5,), "precisions": ("int8", "half")}))
    _, table, whole, ruler = drain(step.plan(task.model, task))
    base = folded(task.model, task.example_inputs)
    assert whole.overhead_bytes > 0
    for wanted in (Option(), Option(precision="int8"), Option(precision="half"), Option("rank", 0.5, "int8")):
        mix = {
            unit: next((one for one in entries if one.option == wanted), entries[0]) for unit, entries in table.items()
        }
        write_onnx(joint(base, ruler.task, {unit: one.option for unit, one in mix.items()}), task, tmp_path / "x.onnx")
        told = whole.num_bytes(list(mix.values()))
        assert abs(told / (tmp_path / "x.onnx").stat().st_size - 1) < 0.01, wanted


def test_coded_bytes_are_those_of_the_container(tmp_path: Path) -> None:
    task = image_task()
    step = Allocate(shrink=2.0, coded=True, sparsities=(0.5,), **(SMALL | {"samples": 4}))
    plan, _, whole, _ = drain(step.plan(task.model, task))
    write_onnx(folded(task.model, task.example_inputs), task, tmp_path / "dense.onnx")
    write_onnx(rebuild(compress(task, Recipe((step,))), task), task, tmp_path / "small.onnx")
    assert whole.dense_bytes == (tmp_path / "dense.onnx").stat().st_size
    pack(tmp_path / "small.onnx", tmp_path / "small.paring")
    coded = (tmp_path / "small.paring").stat().st_size
    assert coded <= plan.num_bytes <= 1.3 * coded  # floats are counted raw, and the container squeezes them
    assert coded <= whole.dense_bytes / 2


def test_what_is_timed_has_the_shapes_of_what_is_made() -> None:
    task = image_task()
    base = folded(task.model, task.example_inputs)
    step = Allocate(shrink=1.5, widths=(0.5,), ranks=(0.5,), precisions=("int8", "int4", "half"))
    units, _ = step.units(base, task, width="apart")
    options = [Option("width", 0.5, "int4"), Option("rank", 0.5, "int8"), Option(precision="half"), Option()]
    for shift in range(len(options)):
        choice = {unit: options[(place + shift) % len(options)] for place, unit in enumerate(units)}
        timed = made(base, task, shape_passes(choice))
        real = made(base, task, [*structure_passes(choice), *precision_passes(choice)])
        shapes = [
            [(name, type(module), [tuple(p.shape) for p in (*module.parameters(False), *module.buffers(False))])
             for name, module in model.named_modules()]
            for model in (timed, real)
        ]  # fmt: skip
        assert shapes[0] == shapes[1]


def test_few_bits_are_timed_without_looking_for_a_scale() -> None:
    layer, rows = Unit("layer", ("layer",)), Unit("rows", ("rows",), is_table=True)
    passes = shape_passes(dict.fromkeys((layer, rows), Option(precision="int4")))
    assert [(one.name, one.include, getattr(one, "clip", None)) for one in passes] == [
        ("quantize.weight_only", ("layer", "layer.*"), False),
        ("quantize.embedding", ("rows", "rows.*"), False),
    ]


def test_it_tells_its_plan_and_builds_its_table_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = image_task()
    recipe = Recipe((Allocate(shrink=1.5, **SMALL),))
    told = [step.text for _, step in compress_steps(task, recipe) if isinstance(step, Progress)]
    assert any("foretold loss" in text and "gap" in text and "price" in text for text in told)
    monkeypatch.setattr(paring.allocate.scene, "build_table", lambda *args: pytest.fail("built again"))
    other = Recipe((Allocate(shrink=1.2, **SMALL),))
    assert compress(task, recipe).edits and compress(task, other)


def test_one_correction_is_kept_for_all_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    task, step = image_task(), Allocate(shrink=1.5, **SMALL)
    base, rulers = folded(task.model, task.example_inputs), Rulers(task, task.model, step.num_examples)
    tables, whole, _ = drain(step._scene(base, task, rulers))
    assert len(tables) > 1
    monkeypatch.setattr(paring.allocate.scene, "fit_whole", lambda *args, **kwargs: pytest.fail("fitted again"))
    for path in table_path(step.target).parent.glob("options-*.json"):
        path.unlink()
    assert drain(step._scene(base, task, rulers))[:2] == (tables, whole)


def test_another_engine_and_fewer_options_measure_no_loss_again(monkeypatch: pytest.MonkeyPatch) -> None:
    task = image_task()
    every = Allocate(shrink=1.2, **(SMALL | {"ranks": (0.5,)}))
    _, first, _, _ = drain(every.plan(task.model, task))
    monkeypatch.setattr(Measured, "_lost", lambda *_: pytest.fail("measured again"))
    _, second, _, _ = drain(replace(every, target=Target("openvino")).plan(task.model, task))
    assert first == second
    for fewer in (replace(every, ranks=()), replace(every, widths=()), replace(every, precisions=())):
        assert drain(fewer.plan(task.model, task))[1]


def test_a_table_that_was_killed_goes_on_behind_its_last_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    task, step, measure = image_task(), Allocate(shrink=1.2, **SMALL), Measured._lost
    asked: list[Unit] = []
    most = 1

    def asked_for(measured: Measured, unit: Unit, option: Option, built: nn.Module) -> tuple[float, str]:
        asked.append(unit)
        if len(set(asked)) > most:
            raise KeyboardInterrupt
        return measure(measured, unit, option, built)

    monkeypatch.setattr(Measured, "_lost", asked_for)
    with pytest.raises(KeyboardInterrupt):
        drain(step.plan(task.model, task))
    finished = asked[0]
    asked.clear()
    most = 100
    drain(step.plan(task.model, task))
    assert asked and finished not in asked


def test_what_is_measured_comes_back_from_its_file(own_clock: Path) -> None:
    task = image_task()
    drain(Allocate(shrink=1.2, **(SMALL | {"ranks": (0.5,)})).plan(task.model, task))
    [path] = own_clock.rglob("facts-*.json")
    facts = read_facts(path)
    kinds = {
        type(op) for one in facts.values() for made in one.options.values() for c in made.operations for op in c.chain
    }
    assert kinds == {Conv, Gemm}
    write_facts(facts, path.with_name("again.json"))
    assert path.read_bytes() == path.with_name("again.json").read_bytes()
    assert read_facts(path.with_name("again.json")) == facts


def test_what_decides_a_loss_is_in_the_key() -> None:
    class Net(nn.Module):
        def __init__(self, approximate: str) -> None:
            super().__init__()
            self.approximate, self.linear = approximate, nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return functional.gelu(self.linear(x), approximate=self.approximate).squeeze(1)

    def key(loss: object, approximate: str = "none", seed: int = 0) -> str:
        torch.manual_seed(0)
        net, x = Net(approximate), torch.randn(8, 4)
        data = [(x, torch.zeros(8))]
        task = replace(image_task(), model=net, example_inputs=x, calibration=data, loss=loss, seed=seed)  # type: ignore[arg-type]
        return digest_of(net, yardstick(task, net, 8))

    same = key(functional.mse_loss)
    assert key(functional.mse_loss) == same
    others = {
        key(lambda u, t: 100 * functional.mse_loss(u, t)),
        key(functional.mse_loss, "tanh"),
        key(functional.mse_loss, seed=1),
    }
    assert len(others | {same}) == 4


def test_two_processes_keep_what_each_has_measured(tmp_path: Path) -> None:
    path, units = tmp_path / "facts.json", [Unit("a", ("a",)), Unit("b", ("b",))]
    for unit in units:
        write_facts({unit: Facts(rounding={"int8": 0.5})}, path)
    write_facts({units[0]: Facts(rounding={"int4": 0.7})}, path)
    assert read_facts(path) == {
        units[0]: Facts(rounding={"int8": 0.5, "int4": 0.7}),
        units[1]: Facts(rounding={"int8": 0.5}),
    }


def test_all_families_together_lose_no_more_than_bits_alone() -> None:
    task = image_task()
    base = folded(task.model, task.example_inputs)
    every = Allocate(shrink=1.3, **(SMALL | {"precisions": ("int8", "half")}))
    bits = Allocate(shrink=1.3, **(SMALL | {"precisions": ("int8", "half"), "widths": ()}))
    ruler = Rulers(task, task.model, every.num_examples).plans
    plans = [drain(step.plan(task.model, task))[0] for step in (every, bits)]
    together, alone = (ruler.loss(joint(base, ruler.task, plan.choice)) for plan in plans)
    assert together <= alone


def test_a_damaged_table_is_named(own_clock: Path) -> None:
    task, recipe = image_task(), Recipe((Allocate(shrink=1.5, **SMALL),))
    compress(task, recipe)
    for path in own_clock.rglob("options-*.json"):
        path.write_text(json.dumps({"units": 3}))
    with pytest.raises(CorruptFileError, match="Remove it to build it anew"):
        compress(task, recipe)


def test_local_search_never_ends_worse_and_keeps_the_limits() -> None:
    task = image_task()
    step = Allocate(shrink=1.4, **SMALL)
    plan, table, whole, ruler = drain(step.plan(task.model, task))
    base = folded(task.model, task.example_inputs)
    limits = step.limits(whole)
    _, before = drain(searched(plan, table, whole, limits, base, ruler, 0))
    choice, after = drain(searched(plan, table, whole, limits, base, ruler, 3))
    assert after <= before
    entries = [next(one for one in table[unit] if one.option == option) for unit, option in choice.items()]
    assert whole.num_bytes(entries) <= limits.num_bytes


def test_steps_swaps_and_recovery_conform() -> None:
    step = Allocate(shrink=1.6, steps=2, swaps=1, recovery=Finetune(epochs=1), **(SMALL | {"ranks": (0.5,)}))
    check_pass(step, image_task())


def test_it_survives_yaml() -> None:
    text = "passes: [{allocate: {speedup: 2, precisions: [int8, half], recovery: {finetune: {epochs: 3}}}}]"
    recipe = parse_recipe(text)
    assert recipe.passes == (Allocate(speedup=2, precisions=("int8", "half"), recovery=Finetune(epochs=3)),)
    assert parse_recipe(to_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "it needs a budget"),
        ({"speedup": 0}, "speedup is 0"),
        ({"speedup": 2, "max_loss": 0.1}, "max_loss finds the least time itself"),
        ({"steps": 2, "max_loss": 0.1}, "max_loss is of one table, and steps is 2"),
        ({"shrink": 2, "widths": (0.5, 1.0)}, "widths holds 1.0"),
        ({"shrink": 2, "samples": 1}, "samples is 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Allocate(**settings)  # type: ignore[arg-type]


def test_an_unknown_precision_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'int8'"):
        Allocate(shrink=2, precisions=("int9",))  # type: ignore[arg-type]
