"""Response distillation: the student learns the teacher's softened answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch.nn.functional as F
from torch import Tensor

from paring.core.objective import OutputObjective, label_loss
from paring.core.task import Task
from paring.errors import SettingError, ShapeError


@final
@dataclass(frozen=True)
class Response(OutputObjective):
    """Temperature-scaled KL to the teacher, mixed with the task's own loss (Hinton et al. 2015, arXiv:1503.02531).

    The knowledge transferred is the teacher's whole answer: how probable it finds every wrong class. The loss is
    `alpha * T^2 * KL(teacher / T || student / T) + (1 - alpha) * task.loss`; T^2 keeps the gradients' size independent
    of the temperature. At `alpha=1` labels are not read, so the training data may be unlabelled.
    """

    name: ClassVar[str] = "distill.response"

    temperature: float = 4.0
    alpha: float = 0.9

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise SettingError(f"distill.response: temperature is {self.temperature}; it must be above 0.")
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"distill.response: alpha is {self.alpha}; it must lie in [0, 1].")

    def score(self, student: Tensor, target: Any, teacher: Tensor | None, task: Task) -> Tensor:
        """Logits (b, classes) of student and teacher -> loss (). Raises ShapeError if the two differ in shape."""
        assert teacher is not None
        if student.shape != teacher.shape or student.dim() < 2:
            raise ShapeError(
                f"distill.response: the student answers {tuple(student.shape)}, the teacher {tuple(teacher.shape)}; "
                "both must be logits of one shape, (batch, classes)."
            )
        soft = F.kl_div(
            F.log_softmax(student / self.temperature, dim=-1),
            F.log_softmax(teacher / self.temperature, dim=-1),
            log_target=True,
            reduction="sum",
        ) / (student.numel() / student.shape[-1])
        loss = self.alpha * self.temperature**2 * soft
        return loss if self.alpha == 1 else loss + (1 - self.alpha) * label_loss(task, student, target)
