"""One batch through student and teacher, and its loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Inputs, Task
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.watch import watch


@dataclass(frozen=True)
class Lesson:
    """Runs one batch through both models, and scores what was seen. `student_layers` is filled by the forward."""

    task: Task
    student: nn.Module
    student_layers: Mapping[str, Tensor]
    teacher: nn.Module
    scorer: Scorer

    def loss(self, inputs: Inputs, target: Any, answers: tuple[Tensor, Mapping[str, Tensor]] | None = None) -> Tensor:
        """The loss, (), of one batch; the teacher runs only where its answers are not given."""
        answer, layers = answers or (self._taught(inputs) if self.scorer.uses_teacher else (None, {}))
        output = self.task.predict(self.student, inputs)
        return self.scorer.loss(Seen(inputs, target, output, answer, dict(self.student_layers), layers))

    @torch.no_grad()
    def _taught(self, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        with watch(self.teacher, self.scorer.teacher_layers) as layers:
            return self.task.predict(self.teacher, inputs), layers


def teacher_of(task: Task, objective: Objective) -> nn.Module:
    """A frozen copy of `task.model`, its attention in plain Linears where the objective looks inside."""
    teacher = copy.deepcopy(task.model).eval().requires_grad_(False)
    if objective.unfuses():
        for edit in unfuse_all(teacher):
            teacher = edit.apply(teacher)
    return teacher
