"""What a training loop minimises. Distillation is an objective, so any pass that trains can be distilled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from torch import Tensor, nn

from paring.core.task import Inputs, Task
from paring.errors import TaskError


@dataclass(frozen=True)
class Seen:
    """One batch as both models saw it: their scored outputs (b, ...), and what the named layers gave.

    `teacher` is None for objectives that use none.
    """

    inputs: Inputs
    target: Any
    student: Tensor
    teacher: Tensor | None = None
    student_layers: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_layers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorer:
    """The loss, (), of one batch; `learned` are the objective's own weights, the layers those it wants to see."""

    loss: Callable[[Seen], Tensor]
    learned: tuple[nn.Parameter, ...] = ()
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()
    uses_teacher: bool = True


class Objective(ABC):
    """Scores a student's answers, with or without its teacher's. A frozen dataclass of settings."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"train"})

    @abstractmethod
    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """A scorer for these two models, which it leaves as they are. Raises what does not fit the two."""

    def requirements(self) -> frozenset[str]:
        """The Task fields it uses with its present settings."""
        return self.needs

    def unfuses(self) -> bool:
        """Whether it looks inside attention, so that `nn.TransformerEncoder` must be unfused first."""
        return False


class OutputObjective(Objective):
    """An objective that looks at outputs alone: subclasses give `score`."""

    uses_teacher: ClassVar[bool] = True

    @abstractmethod
    def score(self, seen: Seen, task: Task) -> Tensor:
        """The loss, (), of outputs (b, ...) against targets and the teacher's outputs (b, ...)."""

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`."""
        return Scorer(lambda seen: self.score(seen, task), uses_teacher=self.uses_teacher)


@final
@dataclass(frozen=True)
class Supervised(OutputObjective):
    """The task's own loss against the labels, no teacher."""

    name: ClassVar[str] = "supervised"
    uses_teacher: ClassVar[bool] = False

    def score(self, seen: Seen, task: Task) -> Tensor:
        """`task.loss` of outputs and targets."""
        return label_loss(task, seen.student, seen.target)


def label_loss(task: Task, outputs: Tensor, target: Any) -> Tensor:
    """`task.loss` of outputs (b, ...) against the labels. Raises TaskError with both shapes if it fails."""
    try:
        return task.loss(outputs, target)
    except Exception as error:
        labels = f"{tuple(target.shape)} {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        reason = " ".join(str(error).split())
        raise TaskError(f"task.loss: it fails on outputs {tuple(outputs.shape)}, targets {labels}: {reason}") from error
