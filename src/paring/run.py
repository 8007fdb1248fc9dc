"""Several recipes into one run folder: each judged by its file, one chosen, exported, and all of it reported."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from paring.artifacts.artifact import write_artifact
from paring.artifacts.manifest import versions
from paring.candidates import compress_steps
from paring.choice import rivals
from paring.container.file import is_current
from paring.core.budget import Budget
from paring.core.candidate import Candidate
from paring.core.edit import Progress, Step
from paring.core.measurement import Measurement
from paring.core.recipe import Pass, Recipe
from paring.core.scratch import Scratch
from paring.core.stream import told
from paring.core.task import Task
from paring.engines import machine
from paring.errors import BudgetError, RecipeError
from paring.judge.bench import Bench
from paring.judge.judge import headline, judge
from paring.judge.record import Judged, load_measurement
from paring.last_round import Answer, answer
from paring.recipe_io import recipe_hash, to_yaml
from paring.report.detail import details
from paring.report.results import Run, row
from paring.report.write import write_report
from paring.store import RunFolder, load_candidate, save_candidate, whole_folder

BASELINE = Recipe((), "baseline")


@dataclass(frozen=True)
class Told:
    """What is being done, for whoever shows progress: which candidate, which words, how far."""

    subject: str
    progress: Progress


def run_recipes(
    task: Task,
    recipes: Sequence[Recipe],
    folder: RunFolder,
    bench: Bench,
    budget: Budget,
    command: str = "",
    *,
    anew: bool = False,
) -> Generator[Told, None, Run]:
    """Compresses and judges each recipe, chooses by `validation`, looks at `test` once, writes artifact and report.

    Whole candidates already in the folder are taken as they are; `anew` measures them again. Returns the Run;
    results.json, report.html and report.md are written in any case, the artifact only if a candidate stays inside the
    budget.
    Raises: BudgetError after everything is written if none does.
    """
    run, miss = yield from judged_run(task, recipes, folder, bench, budget, command, anew=anew)
    if miss is not None:
        raise miss
    return run


def judged_run(
    task: Task,
    recipes: Sequence[Recipe],
    folder: RunFolder,
    bench: Bench,
    budget: Budget,
    command: str = "",
    *,
    anew: bool = False,
) -> Generator[Told, None, tuple[Run, BudgetError | None]]:
    """As `run_recipes`; beside the Run the error of a missed budget, for who wants to show both."""
    check_recipes(task, recipes)
    baseline = yield from judged_by_file(task, BASELINE, folder, bench, None, anew=anew)
    judged = []
    for recipe in recipes:
        judged.append((yield from judged_by_file(task, recipe, folder, bench, baseline, anew=anew)))
    of_name = {one.measurement.name: one for one in judged}

    def fastest() -> list[Measurement]:
        return rivals([one.measurement for one in judged], budget)

    final = answer(fastest, lambda one: of_name[one.name], task, bench, folder.path)
    found = yield from told(final, lambda stage: Told("run", stage))
    return (yield from concluded(task, baseline, judged, folder, budget, found, command)), found.miss


def concluded(
    task: Task,
    baseline: Judged,
    judged: Sequence[Judged],
    folder: RunFolder,
    budget: Budget,
    found: Answer,
    command: str = "",
) -> Generator[Told, None, Run]:
    """Looks at `test` once, writes artifact and report of what was `found` to ship."""
    chosen = None if found.chosen is None else found.chosen.measurement.name
    yield Told("run", Progress(0, 1, f"the one look at {task.headline()[0]}"))
    final = [
        replace(one, measurement=replace(headline(one, baseline, task), within_budget=budget.allows(one.measurement)))
        for one in (baseline, *judged)
    ]
    run = Run(
        task=task.name,
        baseline=final[0].measurement,
        candidates=tuple(one.measurement for one in final[1:]),
        chosen=chosen,
        machine=machine(),
        versions=versions(),
        command=command,
        budget=budget,
        miss="" if found.miss is None else str(found.miss),
        last_round=found.standings,
        higher_is_better=task.metric.higher_is_better,
        details=details(final, final[0]),
    )
    for one in final:
        if one.measurement.name == chosen:
            with whole_folder(folder.artifact) as partial:
                write_artifact(one.candidate, to_yaml(one.candidate.recipe), one.folder, partial, row(one.measurement))
    write_report(run, folder.path)
    return run


def check_recipes(task: Task, recipes: Sequence[Recipe]) -> None:
    """Raises MissingError for what the task lacks, RecipeError for two recipes of one name."""
    names = {str(BASELINE)}
    for recipe in recipes:
        recipe.check(task)
        if str(recipe) in names:
            raise RecipeError(f"two recipes are called {str(recipe)!r}; give each a name of its own.")
        names.add(str(recipe))


def judged_by_file(
    task: Task, recipe: Recipe, folder: RunFolder, bench: Bench, baseline: Judged | None, *, anew: bool = False
) -> Generator[Told, None, Judged]:
    """The recipe's candidate and what was measured of its file: from the folder if it is whole there, else made now.

    `anew`: a candidate from the folder is exported and measured again, and never made again.
    """
    name, final = str(recipe), folder.candidate(recipe_hash(recipe))
    if final.is_dir():
        candidate = replace(load_candidate(final), recipe=recipe)
        if not anew and is_current(final / "model.paring"):  # else it is exported and measured again
            return Judged(candidate, final, replace(load_measurement(final), name=name))
    else:
        candidate = yield from _compressed(task, recipe, folder)
    with whole_folder(final) as partial:
        save_candidate(candidate, partial)
        measured = yield from told(judge(candidate, task, partial, bench, baseline), lambda stage: Told(name, stage))
    shutil.rmtree(folder.training(recipe_hash(recipe)), ignore_errors=True)
    return Judged(candidate, final, measured)


def help_along(task: Task, recipes: Sequence[Recipe], folder: RunFolder) -> Generator[Told, None, None]:
    """What a further process under `torchrun` does: its share of every training, and nothing on the disk."""
    for recipe in recipes:
        if not folder.candidate(recipe_hash(recipe)).is_dir():
            yield from _compressed(task, recipe, folder)


def _compressed(task: Task, recipe: Recipe, folder: RunFolder) -> Generator[Told, None, Candidate]:
    scratch = folder.training(recipe_hash(recipe))
    resumable = replace(task, scratch=replace(task.scratch or Scratch(scratch), folder=scratch))
    return (yield from told(compress_steps(resumable, recipe), lambda step: _step_words(str(recipe), *step)))


def _step_words(name: str, step: Pass, outcome: Step) -> Told:
    progress = outcome if isinstance(outcome, Progress) else Progress(0, 0, type(outcome).__name__)
    return Told(name, replace(progress, text=f"{step.name}: {progress.text}"))
