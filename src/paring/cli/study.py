"""`paring study NAME`: the worked studies."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paring.cli.options import AsJson, BatchSize, Engines, Threads, bench_of
from paring.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from rich.table import Table

    from paring.studies.study import Study

QUICK_BLOCKS, QUICK_BLOCK_MS = 8, 2.0
NAMES = ("mnist", "text", "conversion", "movies", "size")


@dataclass(frozen=True)
class Asked:
    """What the command line says of a study beyond its name; `given` lists the options that were."""

    data: Path | None = None
    quick: bool = False
    seed: int = 0
    seeds: int | None = None
    logs: tuple[str, ...] = ()
    csv: Path | None = None
    schema: Path | None = None
    model: str | None = None

    def refuse(self, study: str, *options: str) -> None:
        """Raises SettingError for an option that this study has no use for."""
        for option in options:
            if getattr(self, option) not in (None, 0, ()):
                word = {"logs": "log"}.get(option, option)
                raise SettingError(f"study {study}: --{word} means nothing here. Leave it out.")


def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(NAMES)}.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data; else PARING_DATA is searched.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to; out/study-NAME by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less data, fewer epochs and rows, shorter timing.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of training and of what is drawn.")] = 0,
    seeds: Annotated[int | None, typer.Option(min=1, help="conversion: so many of five folds.")] = None,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", help="conversion: online-shoppers, bank-marketing or hillstrom; repeatable."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="conversion: a log of your own, with --schema.")] = None,
    schema: Annotated[Path | None, typer.Option(help="YAML that names label, categories and numbers of --csv.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="text: a folder with a saved classifier and its tokenizer, or a name when online."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure the files that --out holds anew, where it was not quiet.")
    ] = False,
    launcher: Annotated[
        str | None, typer.Option(help="Run this study as a batch job instead: sbatch, slurm (submitit) or local.")
    ] = None,
    engine: Engines = None,
    threads: Threads = 1,
    batch: BatchSize = 1,
    as_json: AsJson = False,
) -> None:
    """Runs a worked study by the library's own verbs, and sets its figures beside those of its source."""
    from paring.cli.render import console, follow, results_table
    from paring.studies.study import run_study

    made = study_of(name, Asked(data, quick, seed, seeds, tuple(log or ()), csv, schema, model))
    folder = out or Path(f"out/study-{name}")
    if launcher is not None:
        from paring.cli.launch import launch

        console.print(launch(launcher, sys.argv[1:], folder, threads=threads), soft_wrap=True)
        return
    command = "paring " + shlex.join(sys.argv[1:])
    bench = bench_of(engine, "cpu", threads, batch)
    if quick:
        bench = replace(bench, blocks=QUICK_BLOCKS, min_block_ms=QUICK_BLOCK_MS)
    result = follow(run_study(made, folder, bench, command, anew=again), quiet=as_json)
    if as_json:
        console.print_json((folder / "results.json").read_text(encoding="utf-8"))
        return
    for run in result.runs.values():
        console.print(results_table(run))
    for sheet in result.sheets.values():
        console.print(_table(sheet.title, [head for _, head in sheet.columns], sheet.texts()))
    words = {True: "[green]met[/green]", False: "[red]not met[/red]", None: "not run"}
    cells = [[one["row"], one["source"], one["ours"] or "", words[one["met"]]] for one in result.claims]
    console.print(_table("Beside the source", ["row", "the source says", "here", ""], cells))
    console.print(f"Files: {folder} (report.html, results.json, latency_results/, other_figures/)", style="dim")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    made = Table(*heads, title=title, title_justify="left")
    for cells in rows:
        made.add_row(*cells)
    return made


def study_of(name: str, asked: Asked) -> Study:
    """The study by its name. Raises UnknownNameError; SettingError for options it lacks; TaskError without its data."""
    if name == "mnist":
        from paring.studies.mnist import mnist_study

        asked.refuse(name, "seeds", "logs", "csv", "schema", "model")
        return mnist_study(asked.data, quick=asked.quick, seed=asked.seed)
    if name == "text":
        from paring.studies.text import text_study

        asked.refuse(name, "seeds", "logs", "csv", "schema")
        return text_study(asked.data, quick=asked.quick, seed=asked.seed, model=asked.model)
    if name == "conversion":
        from paring.studies.conversion import conversion_study

        asked.refuse(name, "seed", "model")
        return conversion_study(
            asked.data, quick=asked.quick, seeds=asked.seeds, logs=asked.logs, csv=asked.csv, schema=asked.schema
        )
    if name == "movies":
        from paring.studies.movies import movies_study

        asked.refuse(name, "seeds", "logs", "csv", "schema", "model")
        return movies_study(asked.data, quick=asked.quick, seed=asked.seed)
    if name == "size":
        from paring.studies.size import size_study

        asked.refuse(name, "seeds", "logs", "csv", "schema", "model")
        return size_study(asked.data, quick=asked.quick, seed=asked.seed)
    raise UnknownNameError("study", name, NAMES, "study")
