"""Relational distillation: the student learns how examples lie to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Task
from paring.errors import SettingError
from paring.graph.watch import glimpse
from paring.numerics.relations import angle_gap, distance_gap


@final
@dataclass(frozen=True)
class Relational(Objective):
    """Distances and angles between the examples of a batch (Park et al. 2019, arXiv:1904.05068).

    The knowledge transferred: the shape of the teacher's space, up to scale and rotation, so that student and teacher
    may answer in other shapes. Compared are the outputs, or what `student_layer` and `teacher_layer` give. `distance`
    and `angle` weigh the two; angles take batch^3 numbers. It says nothing about the answers themselves: sum it with
    another objective in `distill.weighted`.
    """

    name: ClassVar[str] = "distill.relational"

    distance: float = 1.0
    angle: float = 2.0
    student_layer: str | None = None
    teacher_layer: str | None = None

    def __post_init__(self) -> None:
        if min(self.distance, self.angle) < 0 or self.distance == self.angle == 0:
            raise SettingError(f"{self.name}: distance and angle must be at least 0, and one of them above 0.")

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`. Raises UnknownNameError for a layer that does not exist."""
        own = () if self.student_layer is None else (self.student_layer,)
        other = () if self.teacher_layer is None else (self.teacher_layer,)
        glimpse(student, task, own, f"{self.name}: student")
        glimpse(teacher, task, other, f"{self.name}: teacher")
        return Scorer(self._loss, student_layers=own, teacher_layers=other)

    def _loss(self, seen: Seen) -> Tensor:
        assert seen.teacher is not None
        student = seen.student if self.student_layer is None else seen.student_layers[self.student_layer]
        teacher = seen.teacher if self.teacher_layer is None else seen.teacher_layers[self.teacher_layer]
        s, t = (x.float().reshape(len(x), -1) for x in (student, teacher))
        loss = s.sum() * 0
        if self.distance:
            loss = loss + self.distance * distance_gap(s, t)
        return loss + self.angle * angle_gap(s, t) if self.angle else loss
