"""What a training loop minimises. Distillation is an objective, so any pass that trains can be distilled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.task import Inputs, Task
from paring.errors import TaskError


@dataclass(frozen=True)
class Scorer:
    """Runs one batch through student and teacher and gives the loss, (); `learned` are the objective's own weights."""

    loss: Callable[[Inputs, Any], Tensor]
    learned: tuple[nn.Parameter, ...] = ()


class Objective(ABC):
    """Scores a student's answers, with or without its teacher's. A frozen dataclass of settings."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"train"})

    @abstractmethod
    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> AbstractContextManager[Scorer]:
        """A scorer over these two models; what it hooked into them is gone when the context ends."""


class OutputObjective(Objective):
    """An objective that looks at outputs alone: subclasses give `score`."""

    uses_teacher: ClassVar[bool] = True

    @abstractmethod
    def score(self, student: Tensor, target: Any, teacher: Tensor | None, task: Task) -> Tensor:
        """The loss, (), of outputs (b, ...) against targets and the teacher's outputs (b, ...)."""

    @contextmanager
    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Iterator[Scorer]:
        """See `Objective.bind`; the teacher runs without gradients, and only if `uses_teacher`."""

        def loss(inputs: Inputs, target: Any) -> Tensor:
            answer = None
            if self.uses_teacher:
                with torch.no_grad():
                    answer = task.predict(teacher, inputs)
            return self.score(task.predict(student, inputs), target, answer, task)

        yield Scorer(loss)


@final
@dataclass(frozen=True)
class Supervised(OutputObjective):
    """The task's own loss against the labels, no teacher."""

    name: ClassVar[str] = "supervised"
    uses_teacher: ClassVar[bool] = False

    def score(self, student: Tensor, target: Any, teacher: Tensor | None, task: Task) -> Tensor:
        """`task.loss` of outputs and targets."""
        return label_loss(task, student, target)


def label_loss(task: Task, outputs: Tensor, target: Any) -> Tensor:
    """`task.loss` of outputs (b, ...) against the labels. Raises TaskError with both shapes if it fails."""
    try:
        return task.loss(outputs, target)
    except Exception as error:
        labels = f"{tuple(target.shape)} {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        reason = " ".join(str(error).split())
        raise TaskError(f"task.loss: it fails on outputs {tuple(outputs.shape)}, targets {labels}: {reason}") from error
