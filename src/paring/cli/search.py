"""`paring search`: say what you can afford, get the best there is."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from paring.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Engines,
    MaxDrop,
    MaxLatency,
    MaxSize,
    Out,
    Percentile,
    Threads,
    UseInterval,
    bench_of,
    budget_of,
    number_of,
)  # fmt: skip
from paring.errors import UnknownNameError

if TYPE_CHECKING:
    from paring.core.budget import Budget
    from paring.core.measurement import Measurement
    from paring.judge.bench import Bench
    from paring.run import Told
    from paring.search.search import Found, Searched
    from paring.search.workers import RayPool

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
STOPPED = 130


def search(
    task: Annotated[str, typer.Argument(metavar="TASK", help="file.py:name or module:name of a paring.Task.")],
    out: Out,
    max_drop: MaxDrop = None,
    use_interval: UseInterval = False,
    max_latency: MaxLatency = None,
    max_size: MaxSize = None,
    max_memory: Annotated[str | None, typer.Option(help="Budget: most memory above an empty engine, as 50MB.")] = None,
    min_throughput: Annotated[float | None, typer.Option(help="Budget: least examples a second.")] = None,
    percentile: Percentile = "p50",
    time: Annotated[str | None, typer.Option("--time", help="How long to search: 90s, 30m, 2h.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="At most so many trials, those of earlier runs too.")
    ] = None,
    trial_time: Annotated[str | None, typer.Option(help="Give a trial up after this long.")] = None,
    goal: Annotated[str, typer.Option(help="fastest or smallest, inside the budget.")] = "fastest",
    recipe: Annotated[list[Path] | None, typer.Option("--recipe", help="Try this recipe first; repeatable.")] = None,
    max_epochs: Annotated[int, typer.Option(min=0, help="Longest recovery of a trial.")] = 4,
    engine: Engines = None,
    device: Device = "cpu",
    threads: Threads = 1,
    batch: BatchSize = 1,
    ray: Annotated[
        str | None, typer.Option(help="Run trials on a Ray cluster: its address, or local to start one here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at once with --ray; else as many as the cores hold.")
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(help="Run this search as a batch job instead: sbatch, slurm (submitit) or local.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Searches recipes, budgets and training settings for the best file inside the budget, until the time is up."""
    from paring.cli.load import load_task
    from paring.cli.render import console, print_run
    from paring.core.check import check_task
    from paring.core.task import outputs_and_targets
    from paring.recipe_io import read_recipe
    from paring.report.results import results
    from paring.search.search import Effort
    from paring.search.search import search as steps
    from paring.store import open_run

    if goal not in ("fastest", "smallest"):
        raise UnknownNameError("goal", goal, ("fastest", "smallest"), "--goal")
    if launcher is not None:
        from paring.cli.launch import launch

        console.print(launch(launcher, sys.argv[1:], out, threads=threads * (workers or 1)), soft_wrap=True)
        return
    recipes = [read_recipe(path) for path in recipe or ()]
    time_s = None if time is None else number_of(time, "--time", SECONDS)
    trial_time_s = None if trial_time is None else number_of(trial_time, "--trial-time", SECONDS)
    loaded = load_task(task)
    check_task(loaded)
    bench = bench_of(engine, device, threads, batch)
    baseline_metric = None
    if max_drop is not None and max_drop.strip().endswith("%"):
        baseline_metric = loaded.metric(*outputs_and_targets(loaded, loaded.model, loaded.validation))
    budget = budget_of(
        max_drop, max_latency, max_size, percentile, baseline_metric, min_throughput, max_memory, use_interval
    )
    command = "paring " + " ".join(sys.argv[1:])
    with asked_to_stop() as stop:
        effort = Effort(time_s, trials, trial_time_s, max_epochs, goal, stop)  # type: ignore[arg-type]
        folder = open_run(out, loaded, bench.conditions())
        pool = None if ray is None else _ray(ray, task, folder.path, bench, budget, workers)
        found = _followed(steps(loaded, folder, bench, budget, effort, recipes, command, pool), quiet=as_json)
    if as_json:
        console.print_json(json.dumps(results(found.run) | {"front": list(found.front), "ended": found.ended}))
    else:
        print_run(found.run, out)
        console.print(f"{len(found.trials)} trials, ended by: {found.ended}. Every one stands in {out / 'search.md'}.")
    if found.ended == "stopped":
        raise typer.Exit(STOPPED)
    if found.miss is not None:
        raise found.miss


def _ray(
    address: str, task: str, folder: Path, bench: Bench, budget: Budget, workers: int | None
) -> Callable[[], RayPool]:
    """Opens the workers when the baseline is there; each loads the task for itself."""
    from paring.cli.load import load_task
    from paring.search.remote import Work
    from paring.search.workers import RayPool

    work = Work(partial(load_task, task), folder.resolve(), bench, budget)
    return partial(RayPool, address, work, workers)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the search to end with its best; a second one ends it at once (whole candidates are kept)."""
    asked = False

    def ask(_signal: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        sys.stderr.write("Stopping after this step; Ctrl-C again stops at once.\n")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _followed(steps: Generator[Told | Found, None, Searched], *, quiet: bool) -> Searched:
    """Shows what is being done as one line and the front as a table, drawn anew with each trial."""
    from paring.cli.render import console, line_of_progress
    from paring.search.search import Found

    with closing(steps), line_of_progress(quiet=quiet) as show:
        while True:
            try:
                told = next(steps)
            except StopIteration as end:
                result: Searched = end.value
                return result
            if not isinstance(told, Found):
                show(told)
            elif not quiet:
                trial = told.trial
                why = f" ({trial.message})" if trial.message else ""
                line = f"trial {trial.number}: {trial.name}: {trial.outcome}, {trial.seconds:.0f} s{why}"
                console.print(line, markup=False, highlight=False, soft_wrap=True)
                if trial.outcome == "whole":
                    console.print(front_table(told.front, told.best))


def front_table(front: tuple[Measurement, ...], best: Measurement | None) -> Table:
    """The front so far, fastest first, the best inside the budget in bold."""
    table = Table(title="the front so far (validation)", title_justify="left", header_style="bold")
    table.add_column("candidate", overflow="fold")
    for heading in ("p50 ms", "bytes", "drop", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in front:
        cells: list[Any] = [f"{one.latency_ms['p50']:.4f}", f"{one.file_bytes:,}", f"{one.quality.drop:+.4f}"]
        style = "bold" if best is not None and one.name == best.name else ""
        table.add_row(one.name, *cells, f"{one.speedup.ratio:.2f}", style=style)
    return table
