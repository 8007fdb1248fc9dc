"""Training as a step of a recipe: recovery after a cut, with any objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

from torch import nn

from paring.core.edit import Changed, Step
from paring.core.objective import Objective, Supervised
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import NothingToDoError
from paring.graph.edits.unfuse import unfuse_all
from paring.train import Schedule, Training, fit


@final
@dataclass(frozen=True)
class Finetune(Pass):
    """Trains the model as it stands: with labels, or distilled from the original by passing an objective.

    Masks hold, structure stays. `include` and `exclude` choose the layers that learn; the rest stays fixed. AdamW, a
    linear `warmup` over a share of all steps, then `schedule`; the gradients of `accumulation` batches make one step;
    with `early_stop` the training ends when the metric on validation has not improved for so many epochs, and the best
    epoch's weights stay; "bf16" computes under autocast, on a processor without bf16 instructions in fp32. Killed and
    started again in the same run folder it goes on from its last checkpoint, to the same weights.
    """

    name: ClassVar[str] = "finetune"
    needs: ClassVar[frozenset[str]] = frozenset({"train"})
    structural: ClassVar[bool] = False
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights do not learn. Put finetune before the quantization."
    }

    epochs: int = 1
    learning_rate: float = 1e-3
    objective: Objective = field(default_factory=Supervised)
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulation: int = 1
    early_stop: int | None = None

    def __post_init__(self) -> None:
        self.training()

    def requirements(self) -> frozenset[str]:
        """Training data, and what the objective asks for."""
        return self.needs | self.objective.requirements()

    def training(self) -> Training:
        """The loop's own settings. Raises SettingError."""
        return Training(
            self.epochs,
            self.learning_rate,
            self.weight_decay,
            self.schedule,
            self.warmup,
            self.gradient_clip,
            self.precision,
            self.accumulation,
            self.early_stop,
        )

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Trains in place and yields the layers that learned."""
        if self.objective.unfuses():
            yield from unfuse_all(model)
        learning = {
            name: own
            for name, module in model.named_modules()
            if self.selects(name) and (own := tuple(module.parameters(recurse=False)))
        }
        if not learning:
            chosen = f"include={list(self.include)}, exclude={list(self.exclude)}"
            raise NothingToDoError(f"finetune: {chosen} selects no layer with weights. Widen the patterns.")
        unique = {id(p): p for own in learning.values() for p in own}
        yield from fit(model, task, self.objective, self.training(), tuple(unique.values()), resumable=True)
        yield Changed(tuple(learning))
