"""Another net in the model's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from paring.core.edit import Edit
from paring.core.task import Task
from paring.errors import LayerError, TaskError, UnknownNameError
from paring.graph.state import meta_copy, named_tensors


@final
@dataclass(frozen=True)
class UseStudent(Edit):
    """Puts the net that `task.students[student]` makes where the model was; nothing of the model is left.

    Raises: UnknownNameError for a student the task does not have; TaskError for a factory that makes no module.
    """

    student: str

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError: the factory lies in the task."""
        raise LayerError(f"UseStudent: {self.student}: the net comes from the task. Use apply_for(model, task).")

    def apply_for(self, model: nn.Module, task: Task) -> nn.Module:
        """See `Edit.apply_for`; on `meta` the student is there too."""
        if self.student not in task.students:
            raise UnknownNameError("student", self.student, task.students, "task.students")
        empty = any(tensor.is_meta for _, tensor in named_tensors(model))
        if not empty:
            return self._made(task)
        with torch.random.fork_rng(devices=[]):
            return meta_copy(self._made(task))

    def _made(self, task: Task) -> nn.Module:
        made = task.students[self.student]()
        if not isinstance(made, nn.Module):
            raise TaskError(
                f"task.students[{self.student!r}]: it made a {type(made).__name__}; it must make a torch.nn.Module."
            )
        return made
