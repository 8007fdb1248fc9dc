"""The search itself: a stream of trials that ends in the best of them, and loses nothing when it is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from paring.allocate.step import Allocate
from paring.artifacts.artifact import write_artifact
from paring.core.budget import Budget
from paring.core.edit import Progress
from paring.core.measurement import Measurement
from paring.core.recipe import Recipe
from paring.core.stream import drain, told
from paring.core.task import Task
from paring.engines import quick_in_integers
from paring.errors import BudgetError, ParingError, SettingError
from paring.judge.bench import Bench
from paring.judge.record import Judged, load_measurement
from paring.last_round import answer
from paring.recipe_io import parse_recipe, recipe_hash, to_yaml
from paring.report.results import Run, row
from paring.run import BASELINE, Told, concluded, judged_by_file
from paring.search.attempt import Attempt, Tried, check_trial_time
from paring.search.draws import Recorded
from paring.search.goal import Goal, chosen, contenders, failed_value, value_of
from paring.search.page import write_page
from paring.search.prefixes import Prefixes
from paring.search.sampler import Drawing, Sampler
from paring.search.space import Space, named, space_for
from paring.search.trials import Log, Trial, pareto_front
from paring.store import RunFolder, load_candidate, whole_folder

MOST_REPEATS = 40  # draws in a row that were all tried before: the space is exhausted


@dataclass(frozen=True)
class Effort:
    """How long to search. `stop` is asked between steps, so that an interrupt ends the search with its best."""

    time_s: float | None = None
    trials: int | None = None
    trial_time_s: float | None = None
    max_epochs: int = 4
    goal: Goal = "fastest"
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.time_s is None and self.trials is None:
            raise SettingError("search: it needs an end. Give a time or a number of trials.")
        for name in ("time_s", "trials", "trial_time_s", "max_epochs"):
            value = getattr(self, name)
            if value is not None and value < (0 if name == "max_epochs" else 1e-9):
                raise SettingError(f"search: {name} is {value}; it must be above 0.")


@dataclass(frozen=True)
class Found:
    """A trial just ended; the front so far, fastest first, and the best inside the budget."""

    trial: Trial
    front: tuple[Measurement, ...]
    best: Measurement | None


@dataclass(frozen=True)
class Searched:
    """How it ended: `ended` is why it stopped, `miss` why nothing was chosen."""

    run: Run
    trials: tuple[Trial, ...]
    front: tuple[str, ...]
    ended: str
    miss: BudgetError | None


def search(
    task: Task,
    folder: RunFolder,
    bench: Bench,
    budget: Budget,
    effort: Effort,
    recipes: Sequence[Recipe] = (),
    command: str = "",
    pool: Callable[[], Pool] | None = None,
) -> Generator[Told | Found, None, Searched]:
    """Tries `recipes`, then proven compositions, then what the sampler draws; each judged by its exported file.

    Selection sees `validation`; `test` is looked at once at the end, for the front. The artifact of the best so far
    is always in the folder. `pool` opens workers to run trials side by side. What a killed search had whole is taken
    up; failures are recorded and the search goes on.
    """
    state = yield from _State.opened(task, folder, bench, budget, effort)
    given = [named(recipe) for recipe in recipes]
    ended = yield from (state.loop(given) if pool is None else state.loop_on(pool(), given))
    front = pareto_front(list(state.measured.values()))
    names = tuple(one.name for one in front)
    final = answer(state.contenders, state.judged, task, bench, folder.path)
    found = yield from told(final, lambda stage: Told("search", stage))
    shown = [state.judged(one) for one in front]
    if found.chosen is not None and found.chosen.measurement.name not in names:
        shown.append(found.chosen)
    run = yield from concluded(task, state.baseline, shown, folder, budget, found, command)
    write_page(folder.path, run, state.log.trials, names, ended)
    return Searched(run, tuple(state.log.trials), names, ended, found.miss)


@dataclass(frozen=True)
class Draw:
    """A recipe to try, what was drawn for it, and the sampler's own record of that (None: given or scripted)."""

    recipe: Recipe
    drawn: Recorded | None
    drawing: Drawing | None


class Pool(Protocol):
    """Workers that try recipes side by side. See `paring.search.workers`."""

    size: int

    def submit(self, recipe: Recipe, trial_time_s: float | None) -> object:
        """Starts a trial that ends as a timeout once it has run for longer than `trial_time_s`."""

    def wait(self, handles: list[object]) -> list[object]:
        """Those that have ended; none after a second or so."""

    def result(self, handle: object, load: Callable[[str], Judged], recipe: Recipe) -> Tried:
        """What came of it."""

    def cancel(self, handles: list[object]) -> None:
        """Ends them."""


@dataclass
class _State:
    """What the loop knows so far; all of it can be read back from the folder."""

    task: Task
    folder: RunFolder
    budget: Budget
    effort: Effort
    space: Space
    baseline: Judged
    log: Log
    sampler: Sampler
    attempt: Attempt
    measured: dict[str, Measurement]
    started: float
    trial_started: float = 0.0

    @classmethod
    def opened(
        cls, task: Task, folder: RunFolder, bench: Bench, budget: Budget, effort: Effort
    ) -> Generator[Told, None, _State]:
        started = effort.clock()
        sampler = Sampler(task.seed)  # before the baseline: what is not installed is said at once
        baseline = yield from judged_by_file(task, BASELINE, folder, bench, None)
        prefixes = Prefixes(folder.path / "prefixes")
        attempt = Attempt(task, folder, bench, budget, baseline, prefixes)
        drop = budget.max_metric_drop if effort.goal == "fastest" else None
        space = space_for(task, baseline.measurement.target, max_epochs=effort.max_epochs, max_drop=drop)
        log = Log(folder.path)
        state = cls(task, folder, budget, effort, space, baseline, log, sampler, attempt, {}, started)
        state.attempt = replace(attempt, check=state.check)
        for trial in log.trials:
            if trial.outcome == "whole" and (path := folder.candidate(trial.hash)).is_dir():
                state.measured[trial.hash] = replace(load_measurement(path), name=trial.name)
            if trial.drawn:
                sampler.past(trial.drawn, state.value(trial))
        return state

    def check(self) -> None:
        """Raises TimeoutError when it is time to stop."""
        now, effort = self.effort.clock(), self.effort
        if effort.stop():
            raise TimeoutError("stopped from outside")
        if effort.time_s is not None and now - self.started > effort.time_s:
            raise TimeoutError("the time is up")
        check_trial_time(now - self.trial_started, effort.trial_time_s)

    def over(self) -> str:
        """Why the search ends now, or nothing."""
        if self.effort.stop():
            return "stopped"
        if self.effort.time_s is not None and self.effort.clock() - self.started > self.effort.time_s:
            return "time"
        if self.effort.trials is not None and len(self.log.trials) >= self.effort.trials:
            return "trials"
        return ""

    def loop(self, given: list[Recipe]) -> Generator[Told | Found, None, str]:
        """Trials one after another until something ends them."""
        draws = self.draws(given)
        while not (why := self.over()):
            draw = next(draws, None)
            if draw is None:
                return "everything tried"
            self.trial_started = self.effort.clock()
            tried = yield from self.attempt.tried(draw.recipe)
            yield self.recorded(draw, self.log.next_number, tried, self.effort.clock() - self.trial_started)
        return why

    def loop_on(self, pool: Pool, given: list[Recipe]) -> Generator[Told | Found, None, str]:
        """The same trials on workers, as many at once as the pool holds."""
        draws, flying = self.draws(given), dict[object, tuple[int, Draw, float]]()
        number, why = self.log.next_number, ""
        while True:
            why = why or self.over()
            limit = self.effort.trials or number + pool.size
            while not why and len(flying) < pool.size and len(self.log.trials) + len(flying) < limit:
                draw = next(draws, None)
                if draw is None:
                    why = "everything tried"
                    break
                handle = pool.submit(draw.recipe, self.effort.trial_time_s)
                flying[handle] = number, draw, self.effort.clock()
                number += 1
            if not flying or why in ("stopped", "time"):
                pool.cancel(list(flying))
                return why
            yield Told("search", Progress(len(self.log.trials), self.effort.trials or 0, f"{len(flying)} trials run"))
            for handle in pool.wait(list(flying)):
                taken, draw, started = flying.pop(handle)
                tried = pool.result(handle, lambda hash_: self.judged_of(hash_, draw.recipe), draw.recipe)  # noqa: B023
                yield self.recorded(draw, taken, tried, self.effort.clock() - started)

    def draws(self, given: list[Recipe]) -> Iterator[Draw]:
        """Recipes not tried yet; ends when the sampler brings up nothing new."""
        first, repeats = self.space.first(self.effort.goal == "fastest" and quick_in_integers()), 0
        under_way: set[str] = set()
        taken = {trial.name: trial.hash for trial in self.log.trials}
        while repeats < MOST_REPEATS:
            drawing: Drawing | None = None
            recorded: Recorded | None = None
            if given:
                recipe = given.pop(0)
            else:
                drawing = None if first else self.sampler.ask()
                recorded = Recorded(first.pop(0) if drawing is None else drawing)
                recipe = self.space.recipe(recorded)
            digest = recipe_hash(recipe)
            known = self.log.of_hash(digest)
            if digest in under_way or (known is not None and known.outcome != "timeout"):
                if drawing is not None:
                    repeats += 1
                    self.sampler.tell(drawing, failed_value() if known is None else self.value(known))
                continue
            repeats = 0
            under_way.add(digest)
            if taken.setdefault(str(recipe), digest) != digest:  # a trial of before has it, with other settings
                recipe = Recipe(recipe.passes, f"{recipe} {digest[:4]}")
            yield Draw(recipe, recorded, drawing)

    def recorded(self, draw: Draw, number: int, tried: Tried, seconds: float) -> Found:
        """Writes the trial down, puts a new best where the answer will be, and tells the sampler."""
        before, judged = self.best(), tried.judged
        if judged is not None:
            self.measured[recipe_hash(draw.recipe)] = judged.measurement
            best = self.best()
            if best is not None and (before is None or best.name != before.name):
                self.ship(judged if best.name == judged.measurement.name else self.judged(best))
        trial = Trial(
            number=number,
            name=str(draw.recipe),
            hash=recipe_hash(draw.recipe),
            recipe=to_yaml(draw.recipe),
            outcome=tried.outcome,
            seconds=round(seconds, 3),
            message=tried.message,
            drawn={} if draw.drawn is None else draw.drawn.drawn,
            foretold={} if judged is None else _foretold(draw.recipe, self.task),
            measured={} if judged is None else _figures(judged.measurement),
        )
        self.log.add(trial)
        if draw.drawing is not None:
            self.sampler.tell(draw.drawing, self.value(trial))
        elif trial.drawn:
            self.sampler.past(trial.drawn, self.value(trial))
        return Found(trial, tuple(pareto_front(list(self.measured.values()))), self.best())

    def value(self, trial: Trial) -> float:
        """Of a trial, under the budget of now."""
        found = self.measured.get(trial.hash)
        return failed_value() if found is None else value_of(found, self.budget, self.effort.goal)

    def best(self) -> Measurement | None:
        """The answer so far; None while nothing is inside the budget."""
        try:
            return chosen(list(self.measured.values()), self.budget, self.effort.goal)
        except BudgetError:
            return None

    def contenders(self) -> list[Measurement]:
        """Among which the answer is, the likeliest first. Raises BudgetError where nothing is inside the budget."""
        return contenders(list(self.measured.values()), self.budget, self.effort.goal)

    def judged(self, measured: Measurement) -> Judged:
        """The candidate of a measurement, from its folder."""
        trial = next(one for one in self.log.trials if one.name == measured.name and one.outcome == "whole")
        return replace(self.judged_of(trial.hash, parse_recipe(trial.recipe)), measurement=measured)

    def judged_of(self, candidate_hash: str, recipe: Recipe) -> Judged:
        """A whole candidate of the folder."""
        path = self.folder.candidate(candidate_hash)
        measured = replace(load_measurement(path), name=str(recipe))
        return Judged(replace(load_candidate(path), recipe=recipe), path, measured)

    def ship(self, judged: Judged) -> None:
        """Puts the best so far where the answer will be. Its figures are those of `validation`."""
        with whole_folder(self.folder.artifact) as partial:
            text = to_yaml(judged.candidate.recipe)
            write_artifact(judged.candidate, text, judged.folder, partial, row(judged.measurement))


def _figures(one: Measurement) -> dict[str, float]:
    found: dict[str, Any] = {
        "ms": one.latency_ms["p50"],
        "bytes": one.file_bytes,
        "drop": one.quality.drop,
        "speedup": one.speedup.ratio,
        "kl": None if one.quality.agreement is None else one.quality.agreement.mean_kl,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _foretold(recipe: Recipe, task: Task) -> dict[str, float]:
    """What the solver expected of a recipe that it begins; its tables lie in the cache."""
    step = recipe.passes[0] if recipe.passes else None
    if not isinstance(step, Allocate) or step.steps > 1:
        return {}
    try:
        plan, _, whole, _ = drain(step.plan(task.model, task))
    except ParingError:
        return {}
    names = ("loss", "ms", "num_bytes", "gap", "loss_per_ms", "loss_per_kb", "residual")
    return {name: float(getattr(plan, name)) for name in names} | {"dense_ms": whole.dense_ms}
