"""`paring study NAME`: the worked studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paring.cli.options import AsJson, BatchSize, Engines, Threads, bench_of
from paring.errors import UnknownNameError

if TYPE_CHECKING:
    from paring.studies.study import Study

NAMES = ("mnist", "text")


def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(NAMES)}.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data; else PARING_DATA is searched.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to; out/study-NAME by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less data and fewer epochs: a few minutes.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of training and of what is drawn.")] = 0,
    engine: Engines = None,
    threads: Threads = 1,
    batch: BatchSize = 1,
    as_json: AsJson = False,
) -> None:
    """Runs a worked study by the library's own verbs, and sets its figures beside those of its source."""
    from rich.table import Table

    from paring.cli.render import console, follow, results_table
    from paring.studies.study import run_study

    made = study_of(name, data, quick, seed)
    folder = out or Path(f"out/study-{name}")
    command = f"paring study {name}" + (" --quick" if quick else "") + (f" --seed {seed}" if seed else "")
    result = follow(run_study(made, folder, bench_of(engine, "cpu", threads, batch), command), quiet=as_json)
    if as_json:
        console.print_json((folder / "results.json").read_text(encoding="utf-8"))
        return
    for run in result.runs.values():
        console.print(results_table(run))
    table = Table("row", "the source says", "here", "", title="Beside the source", title_justify="left")
    for one in result.claims:
        met = {True: "[green]met[/green]", False: "[red]not met[/red]", None: "not run"}[one["met"]]
        table.add_row(one["row"], one["source"], one["ours"] or "", met)
    console.print(table)
    console.print(f"Files: {folder} (report.html, results.json, latency_results/, other_figures/)", style="dim")


def study_of(name: str, data: Path | None, quick: bool, seed: int) -> Study:
    """The study by its name. Raises UnknownNameError; TaskError without its data."""
    if name == "mnist":
        from paring.studies.mnist import mnist_study

        return mnist_study(data, quick=quick, seed=seed)
    if name == "text":
        from paring.studies.text import text_study

        return text_study(data, quick=quick, seed=seed)
    raise UnknownNameError("study", name, NAMES, "study")
