"""The commands."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from paring.cli.answers import explain
from paring.cli.compare import compare as compare_command
from paring.cli.container import pack, size, unpack
from paring.cli.deploy import deploy
from paring.cli.gate import gate
from paring.cli.loadtest import load
from paring.cli.machine import machine
from paring.cli.measure import measure
from paring.cli.options import (
    Answers,
    AsJson,
    BatchSize,
    Device,
    Engines,
    MaxDrop,
    MaxLatency,
    MaxMemory,
    MaxSize,
    MinThroughput,
    Out,
    Percentile,
    Threads,
    UseInterval,
    bench_of,
    budget_of,
)  # fmt: skip
from paring.cli.profile import profile
from paring.cli.search import search
from paring.cli.serve import serve
from paring.cli.study import study
from paring.cli.teach import teach
from paring.errors import SettingError


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version("paring"))
        raise typer.Exit


def paring(
    asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """A trained PyTorch model, data and a budget in; a verified, smaller, faster file out."""


app = typer.Typer(
    help="A trained PyTorch model, data and a budget in; a verified, smaller, faster file out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    callback=paring,
)


@app.command()
def demo(
    dataset: Annotated[str, typer.Option(help="digits (ships with scikit-learn) or mnist.")] = "digits",
    data: Annotated[Path | None, typer.Option(help="Folder that holds mnist/; else PARING_DATA is searched.")] = None,
    out: Out = Path("out/demo"),
    engine: Engines = None,
    device: Device = "cpu",
    threads: Threads = 1,
    batch: BatchSize = 1,
    as_json: AsJson = False,
) -> None:
    """Trains a small net, compresses it in six ways, and measures every exported file."""
    from paring.cli.render import console, follow, print_run
    from paring.report.results import results
    from paring.studies.demo import demo as steps

    bench = bench_of(engine, device, threads, batch)
    command = f"paring demo --dataset {dataset} --threads {threads} --batch {batch}"
    run = follow(steps(dataset, data, out, bench, command), quiet=as_json)
    if as_json:
        console.print_json(json.dumps(results(run)))
    else:
        print_run(run, out)


@app.command()
def compress(
    task: Annotated[str, typer.Argument(metavar="TASK", help="file.py:name or module:name of a paring.Task.")],
    recipe: Annotated[list[Path], typer.Option("--recipe", help="A recipe file; repeat to compare several.")],
    out: Out,
    max_drop: MaxDrop = None,
    use_interval: UseInterval = False,
    max_latency: MaxLatency = None,
    max_size: MaxSize = None,
    max_memory: MaxMemory = None,
    min_throughput: MinThroughput = None,
    percentile: Percentile = "p50",
    answers: Answers = None,
    engine: Engines = None,
    device: Device = "cpu",
    threads: Threads = 1,
    batch: BatchSize = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with its time and disk; do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Runs recipes on a task and leaves the best file inside the budget, measured, with its report.

    Under torchrun the trainings are shared by all processes; the first one does the rest.
    """
    from paring.cli.load import load_task
    from paring.cli.plan import plan_of, plan_table
    from paring.cli.render import console, follow, print_run
    from paring.core.check import check_task
    from paring.recipe_io import read_recipe
    from paring.report.results import results
    from paring.run import check_recipes, help_along, judged_run
    from paring.store import RunFolder, open_run

    loaded = load_task(task)  # first, so that passes of the user's own are known
    recipes = [read_recipe(path) for path in recipe]
    if answers is not None:
        from paring.teach.taught import taught

        loaded = taught(loaded, answers)
    check_recipes(loaded, recipes)
    check_task(loaded)
    bench = bench_of(engine, device, threads, batch)
    baseline_metric = None
    if max_drop is not None and max_drop.strip().endswith("%"):
        from paring.core.task import outputs_and_targets

        baseline_metric = loaded.metric(*outputs_and_targets(loaded, loaded.model, loaded.validation))
    budget = budget_of(
        max_drop, max_latency, max_size, percentile, baseline_metric, min_throughput, max_memory, use_interval
    )
    if dry_run:
        plan = plan_of(loaded, recipes, bench)
        if as_json:
            console.print_json(json.dumps(plan))
        else:
            console.print(plan_table(plan))
        return
    if int(os.environ.get("RANK", "0")) > 0:
        follow(help_along(loaded, recipes, RunFolder(out)), quiet=True)
        return
    folder = open_run(out, loaded, bench.conditions())
    command = "paring " + " ".join(sys.argv[1:])
    run, miss = follow(judged_run(loaded, recipes, folder, bench, budget, command), quiet=as_json)
    if as_json:
        console.print_json(json.dumps(results(run)))
    else:
        print_run(run, out)
    if miss is not None:
        raise miss


@app.command()
def passes(
    name: Annotated[str | None, typer.Argument(help="Explain this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lists the techniques, or explains one: its settings, its paper, what it needs."""
    from paring.cli.explain import all_techniques, describe
    from paring.cli.render import console

    if name is None:
        found = all_techniques()
        if as_json:
            console.print_json(json.dumps(found))
            return
        table = Table("name", "kind", "what it does", header_style="bold")
        for one in found:
            table.add_row(one["name"], one["kind"], escape(one["summary"]))
        console.print(table)
        return
    one = describe(name)
    if as_json:
        console.print_json(json.dumps(one))
        return
    _print_technique(one)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write the task.")] = Path("task.py"),
) -> None:
    """Writes a small commented task that runs as it is, and a recipe beside it."""
    from paring.cli.init import RECIPE, TEMPLATE
    from paring.cli.render import console
    from paring.store import write_text

    recipe = file.with_name("recipe.yaml")
    for path in (file, recipe):
        if path.exists():
            raise SettingError(f"{path}: exists already and is left as it is. Choose another name.")
    write_text(file, TEMPLATE.format(name=file.name, stem=file.stem))
    write_text(recipe, RECIPE)
    console.print(f"Wrote {file} and {recipe}. Now run:\n  paring compress {file}:task --recipe {recipe} --out out/")


for name, command in (
    ("explain", explain),
    ("study", study),
    ("measure", measure),
    ("compare", compare_command),
    ("load", load),
    ("machine", machine),
    ("profile", profile),
    ("teach", teach),
    ("pack", pack),
    ("unpack", unpack),
    ("size", size),
    ("serve", serve),
    ("gate", gate),
    ("deploy", deploy),
    ("search", search),
):
    app.command(name)(command)


def _print_technique(one: dict[str, Any]) -> None:
    from paring.cli.render import console

    console.print(f"[bold]{one['name']}[/bold] ({one['kind']})\n{escape(one['description'])}\n")
    console.print(f"Paper: {one['paper'] or 'none'}", markup=False)
    console.print(f"Needs: {', '.join(f'task.{field}' for field in one['needs']) or 'the model alone'}", markup=False)
    for trait, reason in one["cannot_follow"].items():
        console.print(f"Not after a pass that leaves {trait}: {reason}", markup=False)
    table = Table("setting", "type", "default", "values", header_style="bold")
    for setting in one["settings"]:
        choices = ", ".join(setting["choices"] or ())
        table.add_row(setting["name"], escape(setting["type"]), escape(str(setting["default"])), escape(choices))
    console.print(table)
