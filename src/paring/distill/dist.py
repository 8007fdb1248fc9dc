"""Distillation by correlation: the student keeps the teacher's order, not its confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from paring.core.objective import OutputObjective, Seen, label_loss
from paring.core.task import Task
from paring.distill.answers import rows_of
from paring.errors import SettingError
from paring.numerics.divergence import correlation_gaps


@final
@dataclass(frozen=True)
class Dist(OutputObjective):
    """The task's own loss, plus correlations with the teacher's answers (Huang et al. 2022, arXiv:2205.10536).

    The knowledge transferred: how the teacher ranks the classes of an example (`beta`) and the examples of a class
    within the batch (`gamma`), both up to scale and shift, so that a student much weaker than its teacher is not asked
    for the same confidence. `hard` weighs the task's loss; at 0 labels are not read. With two classes only `gamma`
    teaches. Positions are treated as in `distill.response`.
    """

    name: ClassVar[str] = "distill.dist"

    temperature: float = 1.0
    beta: float = 2.0
    gamma: float = 2.0
    hard: float = 1.0
    class_dim: int = 1
    mask: str = "attention_mask"

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise SettingError(f"{self.name}: temperature is {self.temperature}; it must be above 0.")
        if min(self.beta, self.gamma, self.hard) < 0:
            raise SettingError(f"{self.name}: beta, gamma and hard must be at least 0.")

    def score(self, seen: Seen, task: Task) -> Tensor:
        """Outputs of student and teacher -> loss (). Raises ShapeError if the two differ in shape."""
        rows = rows_of(seen, self.name, self.class_dim, self.mask)
        between, within = correlation_gaps(rows.student_NC, rows.teacher_NC, self.temperature)
        loss = self.beta * between + self.gamma * within
        return loss + self.hard * label_loss(task, seen.student, seen.target) if self.hard else loss
