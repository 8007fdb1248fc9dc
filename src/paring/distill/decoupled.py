"""Decoupled distillation: the target class and the others weighed apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from paring.core.objective import OutputObjective, Seen, label_loss
from paring.core.task import Task
from paring.distill.answers import labels_of, rows_of
from paring.errors import SettingError
from paring.numerics.divergence import decoupled_divergence


@final
@dataclass(frozen=True)
class Decoupled(OutputObjective):
    """The task's own loss, plus the KL to the teacher split in two (Zhao et al. 2022, DKD, arXiv:2203.08679).

    The knowledge transferred: how hard the teacher finds an example (`alpha`, the target class against the rest) and
    how it ranks the wrong classes (`beta`, among the others), which plain distillation drowns wherever the teacher is
    sure. `hard` weighs the task's loss. With two classes the second part is empty. Needs class labels; positions are
    treated as in `distill.response`.
    """

    name: ClassVar[str] = "distill.decoupled"

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 2.0
    hard: float = 1.0
    class_dim: int = 1
    mask: str = "attention_mask"

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise SettingError(f"{self.name}: temperature is {self.temperature}; it must be above 0.")
        if min(self.alpha, self.beta, self.hard) < 0:
            raise SettingError(f"{self.name}: alpha, beta and hard must be at least 0.")

    def score(self, seen: Seen, task: Task) -> Tensor:
        """Outputs of student and teacher -> loss (). Raises ShapeError, or TaskError without class labels."""
        rows = rows_of(seen, self.name, self.class_dim, self.mask)
        labels = labels_of(rows, self.name)
        target, others = decoupled_divergence(rows.student_NC, rows.teacher_NC, labels, self.temperature)
        loss = self.alpha * target + self.beta * others
        return loss + self.hard * label_loss(task, seen.student, seen.target) if self.hard else loss
