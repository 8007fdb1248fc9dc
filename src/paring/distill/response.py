"""Response distillation: the student learns the teacher's softened answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch.nn.functional as F
from torch import Tensor

from paring.core.objective import OutputObjective, Seen, label_loss
from paring.core.task import Task
from paring.distill.answers import pair_of, rows_of
from paring.errors import SettingError, UnknownNameError
from paring.numerics.divergence import poisson_divergence, soft_divergence

Kind = Literal["classes", "mse", "huber", "poisson"]


@final
@dataclass(frozen=True)
class Response(OutputObjective):
    """Temperature-scaled KL to the teacher, mixed with the task's own loss (Hinton et al. 2015, arXiv:1503.02531).

    The knowledge transferred is the teacher's whole answer: how probable it finds every wrong class. The loss is
    `alpha * T^2 * KL(teacher / T || student / T) + (1 - alpha) * task.loss`; T^2 keeps the gradients' size independent
    of the temperature. At `alpha=1` labels are not read, so the training data may be unlabelled. `kind` "mse" and
    "huber" are for regression, "poisson" for models whose output is a log rate (conversions, counts): the divergence
    between the two Poisson distributions stands in for the KL. Logits may be (b, classes), or have positions behind
    (language models): then classes lie in `class_dim`, and positions whose label is -100 or that `inputs[mask]` marks
    0 do not count. One output an example is the logit of the second of two classes.
    """

    name: ClassVar[str] = "distill.response"

    temperature: float = 4.0
    alpha: float = 0.9
    kind: Kind = "classes"
    delta: float = 1.0  # where "huber" turns from squares to absolute values
    class_dim: int = 1
    mask: str = "attention_mask"

    def __post_init__(self) -> None:
        for setting in ("temperature", "delta"):
            if getattr(self, setting) <= 0:
                raise SettingError(f"distill.response: {setting} is {getattr(self, setting)}; it must be above 0.")
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"distill.response: alpha is {self.alpha}; it must lie in [0, 1].")
        if self.kind not in get_args(Kind):
            raise UnknownNameError("kind", self.kind, get_args(Kind), self.name)

    def score(self, seen: Seen, task: Task) -> Tensor:
        """Outputs of student and teacher -> loss (). Raises ShapeError if the two differ in shape."""
        loss = self.alpha * self._gap(seen)
        return loss if self.alpha == 1 else loss + (1 - self.alpha) * label_loss(task, seen.student, seen.target)

    def _gap(self, seen: Seen) -> Tensor:
        if self.kind == "classes":
            rows = rows_of(seen, self.name, self.class_dim, self.mask)
            return soft_divergence(rows.student_NC, rows.teacher_NC, self.temperature)
        student, teacher = pair_of(seen, self.name)
        if self.kind == "mse":
            return F.mse_loss(student, teacher)
        if self.kind == "huber":
            return F.huber_loss(student, teacher, delta=self.delta)
        return poisson_divergence(student, teacher)
