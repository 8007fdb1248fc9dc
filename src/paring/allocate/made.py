"""Copies of a model with passes run on them, or with single layers taken from such a copy."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from paring.allocate.option import Choice, shape_passes
from paring.core.edit import Edit
from paring.core.recipe import Pass
from paring.core.task import Inputs, Task
from paring.errors import NothingToDoError
from paring.graph.folding import folds
from paring.graph.sites import replace, submodule


def made(model: nn.Module, task: Task, steps: Sequence[Pass]) -> nn.Module:
    """A copy of `model` on which `steps` have been run; a step that finds nothing leaves it as it is."""
    trial = copy.deepcopy(model)
    for step in steps:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)
            try:
                for outcome in step.run(trial, task):
                    if isinstance(outcome, Edit):
                        trial = outcome.apply(trial)
            except NothingToDoError:
                continue
    return trial.eval()


def shaped(model: nn.Module, task: Task, choice: Choice) -> nn.Module:
    """A copy with the shapes and types that were chosen, calibrated on one batch: for the clock, and for bytes that do
    not depend on the numbers."""
    first = [next(iter(task.real_inputs()))]
    return made(model, dataclasses.replace(task, calibration=first), shape_passes(choice))


def folded(model: nn.Module, inputs: Inputs) -> nn.Module:
    """A copy whose batch norms are folded where they can be. Raises TraceError."""
    trial = copy.deepcopy(model).eval()
    for fold in folds(trial, inputs):
        trial = fold.apply(trial)
    return trial


def swapped(model: nn.Module, other: nn.Module, layers: Iterable[str]) -> nn.Module:
    """A copy of `model` whose `layers` are those of `other`."""
    trial = copy.deepcopy(model)
    for name in layers:
        trial = replace(trial, name, copy.deepcopy(submodule(other, name)))
    return trial
