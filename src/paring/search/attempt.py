"""One recipe run and judged, from the longest beginning that is known; stopped when it is late or hopeless."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from paring.allocate.step import Allocate
from paring.candidates import compress_steps, rebuild
from paring.core.budget import Budget
from paring.core.candidate import Candidate
from paring.core.edit import Progress, Step
from paring.core.metric import within
from paring.core.recipe import Pass, Recipe
from paring.core.scratch import Scratch
from paring.core.stream import told
from paring.core.task import Task, outputs_and_targets
from paring.errors import ParingError
from paring.finetune import Finetune
from paring.judge.bench import Bench
from paring.judge.judge import judge
from paring.judge.record import Judged
from paring.measure.quality import quality
from paring.recipe_io import recipe_hash
from paring.run import Told, judged_by_file
from paring.search.failures import Outcome, outcome_of
from paring.search.prefixes import Prefixes
from paring.store import RunFolder, save_candidate, whole_folder

T = TypeVar("T")
TIMING = "timing"  # how the judge's stage begins that reads the clock
FAR_BEYOND = 5.0  # times the allowed drop, when the training is half done or over


def check_trial_time(taken_s: float, limit_s: float | None) -> None:
    """Raises TimeoutError if a trial under way for `taken_s` has used up its time; None is no limit."""
    if limit_s is not None and taken_s > limit_s:
        raise TimeoutError(f"the trial took longer than {limit_s:g} s")


class HopelessError(ParingError, ValueError):
    """A candidate whose drop is so far beyond the budget that measuring it is a waste."""


@dataclass(frozen=True)
class Tried:
    """What came of an attempt: its files if they are whole, else why not."""

    outcome: Outcome
    message: str = ""
    judged: Judged | None = None


@dataclass(frozen=True)
class Attempt:
    """What attempts share. `check` is called between steps and raises TimeoutError when it is time to stop.

    `timing` is held while files are timed, so that workers of one machine do not time at once.
    """

    task: Task
    folder: RunFolder
    bench: Bench
    budget: Budget
    baseline: Judged
    prefixes: Prefixes
    check: Callable[[], None] = lambda: None
    timing: Callable[[], AbstractContextManager[object]] = nullcontext

    def tried(self, recipe: Recipe) -> Generator[Told, None, Tried]:
        """`run`, and whatever goes wrong called what it is: an attempt never ends the search."""
        try:
            recipe.check(self.task)
            judged = yield from self.run(recipe)
        except HopelessError as error:
            return Tried("hopeless", str(error))
        except Exception as error:  # the user's model, an engine and a pass may raise anything
            return Tried(outcome_of(error), f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000])
        return Tried("whole", judged=judged)

    def run(self, recipe: Recipe) -> Generator[Told, None, Judged]:
        """The recipe's candidate and its measurements. Raises TimeoutError, HopelessError, whatever a pass raises."""
        final = self.folder.candidate(recipe_hash(recipe))
        if final.is_dir():
            return (yield from judged_by_file(self.task, recipe, self.folder, self.bench, self.baseline))
        candidate = yield from self._candidate(recipe)
        yield Told(str(recipe), Progress(0, 1, "a first look at the drop"))
        self._first_look(candidate)
        with whole_folder(final) as partial:
            save_candidate(candidate, partial)
            stages = judge(candidate, self.task, partial, self.bench, self.baseline)
            measured = yield from self._checked(told(self._alone(stages), lambda stage: Told(str(recipe), stage)))
        return Judged(candidate, final, measured)

    def _candidate(self, recipe: Recipe) -> Generator[Told, None, Candidate]:
        candidate = self.prefixes.longest(recipe)
        for length in range(1 + (0 if candidate is None else len(candidate.recipe.passes)), len(recipe.passes) + 1):
            part = Recipe(recipe.passes[:length])
            scratch = self.folder.training(recipe_hash(part))
            task = replace(self.task, scratch=replace(self.task.scratch or Scratch(scratch), folder=scratch))
            steps = compress_steps(task, part, candidate)
            candidate = yield from self._checked(told(steps, lambda step: self._words(str(recipe), *step)))
            shutil.rmtree(scratch, ignore_errors=True)
            if length < len(recipe.passes):
                self.prefixes.keep(candidate)
        assert candidate is not None
        return replace(candidate, recipe=recipe)

    def _checked(self, steps: Generator[Told, None, T]) -> Generator[Told, None, T]:
        while True:
            self.check()
            try:
                step = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            yield step

    def _alone(self, stages: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
        """Holds `timing` from the stage that times to the next."""
        with ExitStack() as held:
            while True:
                try:
                    stage = next(stages)
                except StopIteration as end:
                    result: T = end.value
                    return result
                held.close()
                if stage.text.startswith(TIMING):
                    held.enter_context(self.timing())
                yield stage

    def _words(self, name: str, step: Pass, outcome: Step) -> Told:
        progress = outcome if isinstance(outcome, Progress) else Progress(0, 0, type(outcome).__name__)
        training = step.recovery if isinstance(step, Allocate) else step
        epoch = progress.epoch
        if epoch is not None and epoch.metric is not None and isinstance(training, Finetune):
            before = self.baseline.measurement.quality.metric
            drop = self.task.metric.drop(before, epoch.metric)
            if 2 * epoch.epoch >= training.epochs:
                self._refuse_if_hopeless(drop, drop, f"after epoch {epoch.epoch} of {training.epochs}")
        return Told(name, replace(progress, text=f"{step.name}: {progress.text}"))

    @torch.no_grad()
    def _first_look(self, candidate: Candidate) -> None:
        if self.budget.max_metric_drop is None:
            return
        before, targets = outputs_and_targets(self.task, self.task.model, self.task.validation)
        after, _ = outputs_and_targets(self.task, rebuild(candidate, self.task), self.task.validation)
        seen = quality(self.task.metric, before, after, targets, split="validation", seed=self.task.seed)
        low = seen.drop if seen.drop_interval is None else seen.drop_interval[0]
        self._refuse_if_hopeless(seen.drop, low, "before export")

    def _refuse_if_hopeless(self, drop: float, low: float, when: str) -> None:
        limit = self.budget.max_metric_drop
        if limit is not None and not (drop <= FAR_BEYOND * max(limit, 0.0) or within(low, limit)):
            raise HopelessError(f"drop {drop:.4g} {when}, and the budget allows {limit:.4g}")
