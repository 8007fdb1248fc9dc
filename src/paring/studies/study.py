"""A worked study: several tasks with their recipes, run by the library's own verbs, beside the figures of its source.

result = drain(run_study(mnist_study(quick=True), Path("out/mnist"), Bench()))
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paring.artifacts.manifest import versions
from paring.core.budget import Budget
from paring.core.edit import Progress
from paring.core.measurement import Measurement
from paring.core.recipe import Recipe
from paring.core.stream import told
from paring.core.task import Task
from paring.engines import machine
from paring.judge.bench import Bench
from paring.judge.record import MODEL
from paring.recipe_io import recipe_hash
from paring.report.results import Run, row
from paring.run import BASELINE, Told, run_recipes
from paring.store import RunFolder, open_run, write_json, write_text
from paring.studies.charts import write_charts
from paring.studies.figures import write_figures
from paring.studies.kept import kept
from paring.studies.pages import Page, study_markdown, study_page
from paring.studies.sheets import Chart, Looked, Sheet

Prepare = Callable[[], Generator[Progress, None, Task]]


@dataclass(frozen=True)
class Judgement:
    """A part whose recipes are judged: what a look at it starts from. `files` maps a row's name to its ONNX file."""

    task: Task
    run: Run
    folder: RunFolder
    recipes: tuple[Recipe, ...]
    names: Mapping[str, str]

    @property
    def files(self) -> dict[str, Path]:
        """Row name -> model.onnx."""
        return {name: self.folder.candidate(recipe_hash(recipe)) / MODEL for name, recipe in self.by_name().items()}

    @property
    def measured(self) -> dict[str, Measurement]:
        """Row name -> its measurement."""
        return {self.names.get(one.name, one.name): one for one in self.run.rows}

    def by_name(self) -> dict[str, Recipe]:
        """Row name -> recipe, the baseline first."""
        return {self.names.get(str(recipe), str(recipe)): recipe for recipe in (BASELINE, *self.recipes)}


Rows = tuple[dict[str, Any], ...]
Look = Callable[[Judgement], Generator[Progress, None, Looked]]


@dataclass(frozen=True)
class Part:
    """One task and the recipes tried on it. `prepare` trains the task's model, or takes it from the cache.

    `names` gives rows other words than the recipes' own; the baseline's key is "baseline". `looks` find out what
    the rows do not show, once every recipe is judged; what one found is kept in the part's folder under its name, so
    the name says what it depends on beyond the recipes.
    """

    name: str
    prepare: Prepare
    recipes: tuple[Recipe, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    looks: Mapping[str, Look] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """What the source says about one row, and whether ours meets it.

    `row` is "part: row"; `said` the source's words; `holds` looks at our row's plain data and that part's baseline's.
    """

    row: str
    said: str
    ours: Callable[[dict[str, Any], dict[str, Any]], str]
    holds: Callable[[dict[str, Any], dict[str, Any]], bool]


@dataclass(frozen=True)
class Study:
    """`name` is the command's word; `about` one paragraph for the page. `charts` draws from rows and sheets."""

    name: str
    title: str
    about: str
    parts: tuple[Part, ...]
    claims: tuple[Claim, ...] = ()
    charts: Callable[[Rows, Mapping[str, Sheet]], tuple[Chart, ...]] = lambda rows, sheets: ()


@dataclass(frozen=True)
class StudyResult:
    """A finished study: one Run a part, the rows of all, the sheets by name, and every claim with our figure and
    whether it is met."""

    study: Study
    runs: Mapping[str, Run]
    rows: Rows
    claims: tuple[dict[str, Any], ...]
    sheets: Mapping[str, Sheet] = field(default_factory=dict)


def run_study(
    study: Study, out: Path, bench: Bench, command: str = "", *, anew: bool = False
) -> Generator[Told, None, StudyResult]:
    """Runs every part in its own folder under `out`, then writes the whole. Whole candidates found there are kept;
    `anew` measures them again, and looks at them again, without making them again.

    Writes results.json, report.html, report.md, and the tables and figures under latency_results/, other_figures/ and
    where the study's own sheets and charts say.
    """
    runs: dict[str, Run] = {}
    rows: list[dict[str, Any]] = []
    by_name: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    sheets: dict[str, Sheet] = {}
    for part in study.parts:
        task = yield from told(part.prepare(), lambda step, part=part: Told(part.name, step))  # type: ignore[misc]
        folder = open_run(out / part.name.replace(" ", "-"), task, bench.conditions())
        run = runs[part.name] = yield from run_recipes(task, part.recipes, folder, bench, Budget(), command, anew=anew)
        if anew:
            shutil.rmtree(folder.path / "looks", ignore_errors=True)
        judgement, looked = Judgement(task, run, folder, part.recipes, part.names), Looked()
        for name, look in part.looks.items():
            steps = kept(folder.path, name, judgement.by_name().values(), partial(look, judgement))
            looked |= yield from told(steps, lambda step, part=part: Told(part.name, step))  # type: ignore[misc]
        sheets |= {sheet.name: sheet for sheet in looked.sheets}
        base = _named(run.baseline, part, looked)
        for measured in run.rows:
            data = _named(measured, part, looked)
            rows.append(data)
            by_name[f"{part.name}: {data['name']}"] = (data, base)
    claims = tuple(_judged(claim, by_name) for claim in study.claims)
    result = StudyResult(study, runs, tuple(rows), claims, sheets)
    _write(result, out, command)
    return result


def _named(measured: Measurement, part: Part, looked: Looked) -> dict[str, Any]:
    data = row(measured)
    name = part.names.get(data["name"], data["name"])
    return {**data, **looked.more.get(name, {}), "name": name, "part": part.name}


def _judged(claim: Claim, rows: Mapping[str, tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    if claim.row not in rows:
        return {"row": claim.row, "source": claim.said, "ours": None, "met": None}
    ours, base = rows[claim.row]
    return {"row": claim.row, "source": claim.said, "ours": claim.ours(ours, base), "met": claim.holds(ours, base)}


def _write(result: StudyResult, out: Path, command: str) -> None:
    study = result.study
    data = {
        "format": 1,
        "task": study.name,
        "command": command,
        "machine": machine(),
        "versions": versions(),
        "baseline": result.rows[0]["name"],
        "rows": list(result.rows),
        "claims": list(result.claims),
        "sheets": {name: [dict(row) for row in sheet.rows] for name, sheet in result.sheets.items()},
    }
    sheets = tuple(result.sheets.values())
    for sheet in sheets:
        write_text(out / sheet.folder / f"{sheet.name}.csv", sheet.csv())
    figures = write_charts(out, study.charts(result.rows, result.sheets))
    page = Page(study.title, study.about, result.rows, result.claims, command, sheets, figures)
    write_json(out / "results.json", data)
    write_text(out / "report.md", study_markdown(page))
    write_text(out / "report.html", study_page(page))
    write_figures(out, result.runs, result.rows)
