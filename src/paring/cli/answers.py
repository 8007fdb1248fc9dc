"""`paring explain quantize`: what each type would cost and give, measured on this model and this machine."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paring.cli.options import AsJson, BatchSize, Device, Engines, Threads, bench_of
from paring.errors import UnknownNameError

if TYPE_CHECKING:
    from paring.core.recipe import Recipe
    from paring.core.task import Task
    from paring.quantize.sensitivity import Sensitivity
    from paring.run import Told

FAMILIES = ("quantize",)


def explain(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="quantize")],
    task: Annotated[str, typer.Argument(metavar="TASK", help="file.py:name or module:name of a paring.Task.")],
    out: Annotated[Path | None, typer.Option("--out", help="Keep the run folder here, report included.")] = None,
    engine: Engines = None,
    device: Device = "cpu",
    threads: Threads = 1,
    batch: BatchSize = 1,
    as_json: AsJson = False,
) -> None:
    """Measures what fp16, bf16, int8 and int4 would each cost and give, and which layers mind integers most."""
    from paring.cli.load import load_task
    from paring.cli.render import console, follow, results_table
    from paring.core.budget import Budget
    from paring.core.check import check_task
    from paring.report.results import results
    from paring.run import check_recipes, run_recipes
    from paring.store import open_run

    if family not in FAMILIES:
        raise UnknownNameError("family", family, FAMILIES, "explain")
    loaded = load_task(task)
    recipes = types()
    check_recipes(loaded, recipes)
    check_task(loaded)
    bench = bench_of(engine, device, threads, batch)
    command = "paring " + " ".join(sys.argv[1:])
    with TemporaryDirectory() as scratch:
        folder = open_run(out or Path(scratch) / "run", loaded, bench.conditions())
        run = follow(run_recipes(loaded, recipes, folder, bench, Budget(), command), quiet=as_json)
    found = follow(ranked(loaded), quiet=as_json)
    if as_json:
        layers = [{"layer": one.unit, "divergence": one.divergence} for one in found]
        console.print_json(json.dumps({**results(run), "sensitivity": layers}))
        return
    console.print(results_table(run))
    console.print(_layers(found))


def types() -> tuple[Recipe, ...]:
    """One recipe a type, as one would use it."""
    from paring.core.recipe import Recipe
    from paring.quantize.cast import Cast
    from paring.quantize.gptq import Gptq
    from paring.quantize.granularity import PerGroup
    from paring.quantize.observers import Mse
    from paring.quantize.static import Static
    from paring.quantize.weight_only import WeightOnly

    return (
        Recipe((Cast(dtype="fp16"),), "fp16 stored"),
        Recipe((Cast(dtype="bf16"),), "bf16 stored"),
        Recipe((Static(),), "int8"),
        Recipe((Static(observer=Mse()),), "int8, ranges of least error"),
        Recipe((WeightOnly(num_bits=8),), "int8 weights only"),
        Recipe((Gptq(num_bits=4, granularity=PerGroup(32)),), "int4 weights only, groups of 32"),
        Recipe((Gptq(num_bits=4),), "int4 weights only"),
    )


def ranked(task: Task) -> Generator[Told, None, list[Sensitivity]]:
    """Each layer's own damage in int8, the worst first."""
    from paring.core.stream import told
    from paring.graph.edits.unfuse import unfuse_all
    from paring.graph.folding import folds
    from paring.graph.sites import layers_of
    from paring.quantize.sensitivity import in_integers, sensitivities
    from paring.quantize.static import KINDS, Static
    from paring.run import Told

    assert task.calibration is not None
    model: Any = copy.deepcopy(task.model).eval()
    for edit in list(unfuse_all(model)):
        model = edit.apply(model)
    for fold in folds(model, task.example_inputs):
        model = fold.apply(model)
    names = [name for name, _ in layers_of(model, KINDS)]
    plan = yield from told(Static().planned(model, names, (), task), lambda step: Told("sensitivity", step))
    full = in_integers(model, plan, task)
    steps = sensitivities(model, full, plan, task, task.calibration)
    return (yield from told(steps, lambda step: Told("sensitivity", step)))


def _layers(found: list[Sensitivity]) -> Any:
    from rich.table import Table

    from paring.quantize.sensitivity import bars

    table = Table(title="What each layer's int8 alone changes", title_justify="left", header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("KL divergence, nats", justify="right")
    table.add_column("")
    for one, bar in zip(found, bars(found), strict=True):
        table.add_row(one.unit, f"{one.divergence:.2e}", bar)
    return table
