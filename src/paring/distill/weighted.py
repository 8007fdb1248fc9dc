"""A weighted sum of objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Task
from paring.errors import SettingError


@final
@dataclass(frozen=True)
class Weighted(Objective):
    """The sum of `objectives`, each times its weight (all 1 where `weights` is empty); one forward serves them all.

    The knowledge transferred is that of every part: so a look inside is joined with the answers.
    Example: `Weighted((Response(), Features()), (1.0, 0.5))`.
    Reference: Romero et al. 2015, arXiv:1412.6550.
    """

    name: ClassVar[str] = "distill.weighted"

    objectives: tuple[Objective, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.objectives:
            raise SettingError(f"{self.name}: objectives is empty; give at least one.")
        if self.weights and len(self.weights) != len(self.objectives):
            raise SettingError(
                f"{self.name}: {len(self.weights)} weights for {len(self.objectives)} objectives; give one each."
            )
        if any(weight < 0 for weight in self.weights):
            raise SettingError(f"{self.name}: weights are {self.weights}; they must be at least 0.")

    def requirements(self) -> frozenset[str]:
        """What any of the parts asks for."""
        return self.needs.union(*(one.requirements() for one in self.objectives))

    def unfuses(self) -> bool:
        """See `Objective.unfuses`."""
        return any(one.unfuses() for one in self.objectives)

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`."""
        parts = [one.bind(student, teacher, task) for one in self.objectives]
        weights = self.weights or (1.0,) * len(parts)

        def loss(seen: Seen) -> Tensor:
            total = weights[0] * parts[0].loss(seen)
            for weight, part in zip(weights[1:], parts[1:], strict=True):
                total = total + weight * part.loss(seen)
            return total

        return Scorer(
            loss,
            learned=tuple(p for part in parts for p in part.learned),
            student_layers=tuple(layer for part in parts for layer in part.student_layers),
            teacher_layers=tuple(layer for part in parts for layer in part.teacher_layers),
            uses_teacher=any(part.uses_teacher for part in parts),
        )
