"""Prune a little, recover, look, and again: any pruning pass with any training objective."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

import torch
from torch import nn

from paring.core.edit import Changed, Declined, Edit, Progress, Step
from paring.core.metric import within
from paring.core.recipe import Pass
from paring.core.task import Task, outputs_and_targets
from paring.errors import SettingError
from paring.finetune import Finetune
from paring.graph.state import put_state, take_state

AMOUNTS = ("sparsity", "pruning_ratio")


@final
@dataclass(frozen=True)
class Iterative(Pass):
    """Runs a pruning pass in `rounds` steps up to its amount, recovering after each, and stops at a metric drop.

    Each round removes the same share of what is left. Where the metric on the validation data falls by more than
    `max_metric_drop` below the task's model, that round is undone and the one before it stays.
    Raises: SettingError for a pass without a sparsity or pruning_ratio.
    Reference: Renda, Frankle & Carbin 2020, arXiv:2003.02389; Han et al. 2015, arXiv:1506.02626.
    """

    name: ClassVar[str] = "prune.iterative"
    needs: ClassVar[frozenset[str]] = frozenset({"train"})
    traits: ClassVar[frozenset[str]] = frozenset({"zeros"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integers neither train nor lose weights. Prune first, then quantize."
    }

    step: Pass
    rounds: int = 3
    recovery: Finetune = field(default_factory=Finetune)
    max_metric_drop: float | None = None

    def __post_init__(self) -> None:
        if not any(hasattr(self.step, amount) for amount in AMOUNTS):
            raise SettingError(f"{self.name}: {self.step.name} has no sparsity and no pruning_ratio to raise in steps.")
        if self.rounds < 1:
            raise SettingError(f"{self.name}: rounds is {self.rounds}; it must be at least 1.")

    def requirements(self) -> frozenset[str]:
        """What the pass and the recovery need."""
        return self.step.requirements() | self.recovery.requirements()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        limit = None if self.max_metric_drop is None else self._metric(task.model, task)
        for number in range(1, self.rounds + 1):
            trial, edits, rest = copy.deepcopy(model), [], []
            for one in (self._pass(number), self.recovery):
                for step in one.run(trial, task):
                    if isinstance(step, Edit):
                        trial = step.apply(trial)
                        edits.append(step)
                    elif isinstance(step, Progress):
                        yield Progress(step.done, step.total, f"round {number}/{self.rounds}, {step.text}")
                    else:
                        rest.append(step)
            if limit is not None and self.max_metric_drop is not None:
                drop = task.metric.drop(limit, self._metric(trial, task))
                if not within(drop, self.max_metric_drop):
                    yield Declined(
                        self.step.name,
                        f"round {number} of {self.rounds} loses {drop:.4g}, above {self.max_metric_drop:g}",
                    )
                    return
            yield from edits
            put_state(model, *take_state(trial))
            yield from rest
            yield Changed(tuple(name for name, own in model.named_modules() if own._parameters))

    def _pass(self, number: int) -> Pass:
        """The pass with the amount of this round."""
        whole: Any = self.step
        if hasattr(whole, "sparsity"):
            share = 1 - (1 - whole.sparsity) ** (number / self.rounds)
            one: Pass = replace(whole, sparsity=share)
        else:
            one = replace(whole, pruning_ratio=1 - (1 - whole.pruning_ratio) ** (1 / self.rounds))
        return one

    @staticmethod
    def _metric(model: nn.Module, task: Task) -> float:
        with torch.no_grad():
            return task.metric(*outputs_and_targets(task, model, task.validation))
