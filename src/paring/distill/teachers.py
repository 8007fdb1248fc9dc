"""Several teachers at once."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Task
from paring.errors import SettingError, UnknownNameError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.watch import watch

OWN = "model"


@final
@dataclass(frozen=True)
class Teachers(Objective):
    """The mean, or a weighted mean, of one objective over several teachers.

    The knowledge transferred is what the teachers agree on. `names` are keys of `task.teachers`, and "model" is
    `task.model`. For `distill.response` this is the divergence from the teachers' mean softened answer, up to a
    constant. `weights` are relative; empty means equal ones.
    Reference: You et al. 2017, doi:10.1145/3097983.3098135.
    """

    name: ClassVar[str] = "distill.teachers"

    names: tuple[str, ...]
    objective: Objective
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise SettingError(f"{self.name}: names are {self.names}; give each teacher once, and at least one.")
        if self.weights and (len(self.weights) != len(self.names) or min(self.weights) < 0 or sum(self.weights) == 0):
            raise SettingError(
                f"{self.name}: weights are {self.weights}; give one at least 0 for each of {len(self.names)} teachers."
            )

    def requirements(self) -> frozenset[str]:
        """What the objective asks for."""
        return self.needs | self.objective.requirements()

    def unfuses(self) -> bool:
        """See `Objective.unfuses`."""
        return self.objective.unfuses()

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`. Raises UnknownNameError for a teacher that the task does not have."""
        known = {OWN: teacher, **task.teachers}
        for name in self.names:
            if name not in known:
                raise UnknownNameError("teacher", name, known, self.name)
        others = {name: self._still(known[name]) for name in self.names if name != OWN}
        parts = {name: self.objective.bind(student, others.get(name, teacher), task) for name in self.names}
        weights = self.weights or (1.0,) * len(self.names)

        def loss(seen: Seen) -> Tensor:
            total = seen.student.sum() * 0
            for name, weight in zip(self.names, weights, strict=True):
                view = seen if name == OWN else _taught_by(others[name], parts[name], seen, task)
                total = total + weight / sum(weights) * parts[name].loss(view)
            return total

        own = parts.get(OWN)
        return Scorer(
            loss,
            learned=tuple(p for part in parts.values() for p in part.learned),
            student_layers=tuple(layer for part in parts.values() for layer in part.student_layers),
            teacher_layers=() if own is None else own.teacher_layers,
            uses_teacher=own is not None and own.uses_teacher,
        )

    def _still(self, model: nn.Module) -> nn.Module:
        still = copy.deepcopy(model).eval().requires_grad_(False)
        if self.unfuses():
            for edit in unfuse_all(still):
                still = edit.apply(still)
        return still


@torch.no_grad()
def _taught_by(other: nn.Module, part: Scorer, seen: Seen, task: Task) -> Seen:
    """The batch as this teacher sees it."""
    other.to(seen.student.device)
    with watch(other, part.teacher_layers) as layers:
        answer = task.predict(other, seen.inputs)
    return replace(seen, teacher=answer, teacher_layers=dict(layers))
