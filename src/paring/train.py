"""The one training loop. Whatever is learned here is learned from an Objective."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paring.core.edit import Progress
from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Batches, Inputs, Task
from paring.errors import MissingError, SettingError, TaskError
from paring.graph.edits.mask import apply_masks_
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.watch import watch

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Training:
    """How long and how fast: AdamW, a linear warm-up over the share `warmup` of all steps, then `schedule` to zero."""

    epochs: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise SettingError(f"epochs is {self.epochs}; it must be at least 1.")
        if self.learning_rate <= 0:
            raise SettingError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if not 0 <= self.warmup < 1:
            raise SettingError(f"warmup is {self.warmup}; it must lie in [0, 1): the share of all steps.")

    def rate_at(self, step: int, num_steps: int) -> float:
        """The learning rate's factor at `step` of `num_steps`, in [0, 1]."""
        warm = int(self.warmup * num_steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        share = (step - warm) / max(1, num_steps - warm)
        if self.schedule == "constant":
            return 1.0
        return 1 - share if self.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2


def fit(
    model: nn.Module,
    task: Task,
    objective: Objective,
    training: Training,
    trainable: tuple[nn.Parameter, ...] | None = None,
) -> Iterator[Progress]:
    """Trains `model` in place on `task.train`, reporting each step; ends in eval mode, gradients cleared.

    Masked weights (`MaskWeight`) stay zero: masks are applied after each optimizer step.
    Raises: MissingError without training data, TaskError if the loss becomes NaN or infinite.
    """
    if task.train is None:
        raise MissingError("training needs task.train, and the task has none. Give Task(train=...).")
    from accelerate import Accelerator

    accelerator = Accelerator()
    teacher = _teacher(task, objective)
    chosen = tuple(model.parameters()) if trainable is None else trainable
    frozen = [p for p in model.parameters() if p.requires_grad and not any(p is q for q in chosen)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    scorer = objective.bind(model, teacher, task)
    for own in scorer.learned:
        own.data = own.data.to(accelerator.device)
    # A wrapper only under torchrun; its `module` is `model` itself, so training stays in place.
    student = accelerator.prepare_model(model)
    with watch(model, scorer.student_layers) as student_layers:
        lesson = _Lesson(task, student, student_layers, teacher.to(accelerator.device), scorer)
        weights = [p for p in (*chosen, *scorer.learned) if p.requires_grad]
        yield from _epochs(accelerator, model, student, lesson, weights, task.train, training)
    for parameter in frozen:
        parameter.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    model.cpu().eval()


@dataclass(frozen=True)
class _Lesson:
    """Runs one batch through both models, and scores what was seen."""

    task: Task
    student: nn.Module
    student_layers: Mapping[str, Tensor]
    teacher: nn.Module
    scorer: Scorer

    def loss(self, inputs: Inputs, target: Any) -> Tensor:
        """The loss, (), of one batch."""
        answer, layers = self._taught(inputs) if self.scorer.uses_teacher else (None, {})
        output = self.task.predict(self.student, inputs)
        return self.scorer.loss(Seen(inputs, target, output, answer, dict(self.student_layers), layers))

    @torch.no_grad()
    def _taught(self, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        with watch(self.teacher, self.scorer.teacher_layers) as layers:
            return self.task.predict(self.teacher, inputs), layers


def _teacher(task: Task, objective: Objective) -> nn.Module:
    """A frozen copy of `task.model`, its attention in plain Linears where the objective looks inside."""
    teacher = copy.deepcopy(task.model).eval().requires_grad_(False)
    if objective.unfuses():
        for edit in unfuse_all(teacher):
            teacher = edit.apply(teacher)
    return teacher


def _epochs(
    accelerator: object,
    model: nn.Module,
    student: nn.Module,
    lesson: _Lesson,
    weights: list[nn.Parameter],
    data: Batches,
    training: Training,
) -> Iterator[Progress]:
    from accelerate import Accelerator
    from accelerate.utils import send_to_device

    assert isinstance(accelerator, Accelerator)
    num_steps = training.epochs * count(data)
    optimizer = torch.optim.AdamW(weights, lr=training.learning_rate, weight_decay=training.weight_decay)
    device = accelerator.device
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=training.precision == "bf16")
    done, smooth = 0, math.nan
    for epoch in range(1, training.epochs + 1):
        student.train()
        for batch in data:
            inputs, target = send_to_device(tuple(batch), device)
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * training.rate_at(done, num_steps)
            with half:
                loss = lesson.loss(inputs, target)
            accelerator.backward(loss)
            if training.gradient_clip is not None:
                accelerator.clip_grad_norm_(weights, training.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            apply_masks_(model)
            value = loss.item()
            if not math.isfinite(value):
                raise TaskError(
                    f"training: the loss is {value} at step {done + 1} (epoch {epoch}, learning_rate "
                    f"{training.learning_rate:g}). Lower learning_rate, or set gradient_clip."
                )
            done += 1
            smooth = value if math.isnan(smooth) else 0.95 * smooth + 0.05 * value
            yield Progress(done, num_steps, f"epoch {epoch}/{training.epochs}, loss {smooth:.4f}")


def count(data: Batches) -> int:
    """How many batches one pass over `data` gives; counted by iterating where there is no `len`."""
    return len(data) if isinstance(data, Sized) else sum(1 for _ in data)
