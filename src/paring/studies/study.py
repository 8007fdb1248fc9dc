"""A worked study: several tasks with their recipes, run by the library's own verbs, beside the figures of its source.

result = drain(run_study(mnist_study(quick=True), Path("out/mnist"), Bench()))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
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
from paring.report.results import Run, row
from paring.run import Told, run_recipes
from paring.store import open_run, write_json, write_text
from paring.studies.figures import write_figures
from paring.studies.pages import study_markdown, study_page

Prepare = Callable[[], Generator[Progress, None, Task]]


@dataclass(frozen=True)
class Part:
    """One task and the recipes tried on it. `prepare` trains the task's model, or takes it from the cache.

    `names` gives rows other words than the recipes' own; the baseline's key is "baseline".
    """

    name: str
    prepare: Prepare
    recipes: tuple[Recipe, ...]
    names: Mapping[str, str] = field(default_factory=dict)


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
    """`name` is the command's word; `about` one paragraph for the page."""

    name: str
    title: str
    about: str
    parts: tuple[Part, ...]
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """A finished study: one Run a part, the rows of all, and every claim with our figure and whether it is met."""

    study: Study
    runs: Mapping[str, Run]
    rows: tuple[dict[str, Any], ...]
    claims: tuple[dict[str, Any], ...]


def run_study(study: Study, out: Path, bench: Bench, command: str = "") -> Generator[Told, None, StudyResult]:
    """Runs every part in its own folder under `out` (whole candidates found there are kept), then writes the whole.

    Writes results.json, report.html, report.md, and the tables and figures under latency_results/ and other_figures/.
    """
    runs: dict[str, Run] = {}
    rows: list[dict[str, Any]] = []
    by_name: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for part in study.parts:
        task = yield from told(part.prepare(), lambda step, part=part: Told(part.name, step))  # type: ignore[misc]
        folder = open_run(out / part.name.replace(" ", "-"), task, bench.conditions())
        run = runs[part.name] = yield from run_recipes(task, part.recipes, folder, bench, Budget(), command)
        base = _named(run.baseline, part)
        for measured in run.rows:
            data = _named(measured, part)
            rows.append(data)
            by_name[f"{part.name}: {data['name']}"] = (data, base)
    claims = tuple(_judged(claim, by_name) for claim in study.claims)
    result = StudyResult(study, runs, tuple(rows), claims)
    _write(result, out, command)
    return result


def _named(measured: Measurement, part: Part) -> dict[str, Any]:
    data = row(measured)
    return {**data, "name": part.names.get(data["name"], data["name"]), "part": part.name}


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
    }
    write_json(out / "results.json", data)
    write_text(out / "report.md", study_markdown(study.title, study.about, result.rows, result.claims, command))
    write_text(out / "report.html", study_page(study.title, study.about, result.rows, result.claims, command))
    write_figures(out, result.runs, result.rows)
