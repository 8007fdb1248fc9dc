"""Runs a recipe on a copy of the model, and rebuilds the result from its edits and its state."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import replace

import torch
from torch import nn

from paring.core.candidate import Candidate
from paring.core.edit import Changed, Declined, Edit, Epoch, Progress, Step
from paring.core.recipe import Pass, Recipe
from paring.core.stream import drain
from paring.core.task import Task
from paring.errors import NothingToDoError
from paring.graph.state import meta_copy, put_state, take_state


def compress(task: Task, recipe: Recipe) -> Candidate:
    """The model that `recipe` makes of `task.model`, which itself is left as it was.

    Raises: MissingError before any work if the task lacks what a pass needs, and whatever a pass raises.
    Example: `compress(task, Recipe((Channels(pruning_ratio=0.5), Finetune(epochs=3), Static())))`.
    """
    return drain(compress_steps(task, recipe))


def compress_steps(
    task: Task, recipe: Recipe, start: Candidate | None = None
) -> Generator[tuple[Pass, Step], None, Candidate]:
    """`compress`, step by step: yields (pass, what it just did) for whoever shows progress; returns the Candidate.

    With `start`, what the first passes of `recipe` gave, only the others are run; the result is the same.
    """
    recipe.check(task)
    done = () if start is None else start.recipe.passes
    assert recipe.passes[: len(done)] == done, "start is not what the recipe begins with"
    model = copy.deepcopy(task.model).eval() if start is None else rebuild(start, task)
    edits: list[Edit] = [] if start is None else list(start.edits)
    declined: list[Declined] = [] if start is None else list(start.declined)
    history: list[Epoch] = [] if start is None else list(start.history)
    for step in recipe.passes[len(done) :]:
        outcomes = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)
            for outcome in step.run(model, task):
                if isinstance(outcome, Edit):
                    model = outcome.apply_for(model, task)
                    edits.append(outcome)
                elif isinstance(outcome, Declined):
                    declined.append(outcome)
                elif isinstance(outcome, Progress) and outcome.epoch is not None:
                    history.append(replace(outcome.epoch, step=step.name))
                outcomes += isinstance(outcome, Edit | Declined | Changed)
                yield step, outcome
        if not outcomes:
            raise NothingToDoError(f"{step.name}: changed nothing and declined nothing. Check include and exclude.")
    state, aliases = take_state(model.eval())
    return Candidate(recipe, tuple(edits), tuple(declined), state, aliases, tuple(history))


def rebuild(candidate: Candidate, task: Task) -> nn.Module:
    """The candidate's model, bit for bit: its edits replayed on a `meta` copy of `task.model`, its state loaded."""
    model = meta_copy(task.model)
    for edit in candidate.edits:
        model = edit.apply_for(model, task)
    put_state(model, candidate.state, candidate.aliases)
    return model.eval()
