"""A student of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from paring.core.edit import Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import SettingError, ShapeError
from paring.graph.edits.student import UseStudent


@final
@dataclass(frozen=True)
class Use(Pass):
    """Goes on with the net that `task.students[student]` makes, untrained, in the model's place.

    Left out, `student` is the only one that the task has. What teaches it stays `task.model`: put `finetune` with an
    objective of `distill` behind. Whatever earlier steps did is gone. The factory runs under the task's seed.
    Raises: SettingError; UnknownNameError for a student the task does not have; ShapeError if it answers in another
    shape than the model.
    Reference: Buciluǎ, Caruana & Niculescu-Mizil 2006, doi:10.1145/1150402.1150464.
    """

    name: ClassVar[str] = "student.use"
    needs: ClassVar[frozenset[str]] = frozenset({"students"})
    clears: ClassVar[bool] = True

    student: str = ""

    def __post_init__(self) -> None:
        if self.include or self.exclude:
            raise SettingError(f"{self.name}: it replaces the whole model, and takes no include or exclude.")

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        names = list(task.students)
        if not self.student and len(names) != 1:
            raise SettingError(f"{self.name}: student is not given, and the task has {len(names)}: {names}. Name one.")
        edit = UseStudent(self.student or names[0])
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            trial = edit.apply_for(model, task).eval()
            got, wanted = (tuple(task.predict(net, task.example_inputs).shape) for net in (trial, task.model))
        if got != wanted:
            raise ShapeError(f"{self.name}: {self.student} answers {got} on example_inputs, the model {wanted}.")
        yield edit
