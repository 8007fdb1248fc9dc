"""Students beside the nets of tests.nets, and what a scorer sees of one batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paring import Task
from paring.core.objective import Objective, Seen
from paring.graph.watch import watch
from tests.nets import image_task


class SmallNet(nn.Module):
    """A narrow, shallow answer to ResidualNet: (b, 1, 8, 8) -> (b, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3, padding=1)
        self.head = nn.Linear(5, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(inputs)).mean((2, 3)))


def small_net(seed: int = 3) -> SmallNet:
    torch.manual_seed(seed)
    return SmallNet()


def seen_of(task: Task, student: nn.Module, objective: Objective, teacher: nn.Module | None = None):  # type: ignore[no-untyped-def]
    """(scorer, what it sees of the first 32 rows)."""
    teacher = teacher or task.model
    scorer = objective.bind(student, teacher, task)
    inputs, target = next(iter(task.calibration))  # type: ignore[arg-type]
    with watch(student, scorer.student_layers) as own, watch(teacher, scorer.teacher_layers) as other:
        output = task.predict(student, inputs)
        with torch.no_grad():
            answer = task.predict(teacher, inputs)
        return scorer, Seen(inputs, target, output, answer, dict(own), dict(other))


def outputs(student: Tensor, teacher: Tensor | None, target=None, inputs=None) -> Seen:  # type: ignore[no-untyped-def]
    return Seen(torch.zeros(len(student), 1) if inputs is None else inputs, target, student, teacher)


__all__ = ["image_task", "outputs", "seen_of", "small_net"]
