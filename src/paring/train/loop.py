"""Epoch after epoch, on one process or several, to the end or to the best epoch, from the start or a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.edit import Epoch, Progress
from paring.core.objective import Objective
from paring.core.task import Batches, Task, outputs_and_targets
from paring.core.taught import TaughtBatches
from paring.errors import MissingError, TaskError
from paring.graph.edits.mask import apply_masks_
from paring.graph.state import weights_digest
from paring.graph.watch import watch
from paring.train.checkpoint import Carried, Checkpoint, Place, put_back_, weights_of
from paring.train.lesson import Lesson, teacher_of
from paring.train.processes import Processes, quick_in_bf16
from paring.train.settings import Training


def fit(
    model: nn.Module,
    task: Task,
    objective: Objective,
    training: Training,
    trainable: tuple[nn.Parameter, ...] | None = None,
    *,
    resumable: bool = False,
    key: str = "",
    carried: Carried = tuple,
) -> Iterator[Progress]:
    """Trains `model` in place on `task.train`, reporting each batch; ends in eval mode, gradients cleared.

    Masked weights (`MaskWeight`) stay zero: masks are applied after each optimizer step. Under `torchrun` every process
    takes its share of each batch. With `task.scratch` a `resumable` training (one whose whole state lies in the model)
    leaves checkpoints, and goes on from the one it finds. Whoever changes the model at a Progress (masks, say) is
    heard before the checkpoint is written; the tensors that it keeps of its own it names by `carried`, and what else
    tells its training from another one's by `key`.
    Raises: MissingError without training data, TaskError if the loss becomes NaN or infinite.
    """
    if task.train is None:
        raise MissingError("training needs task.train, and the task has none. Give Task(train=...).")
    processes = Processes.met()
    device = processes.accelerator.device
    if resumable and task.scratch is not None:
        key = weights_digest(model, f"{training.key()} {objective} {task.seed}{key and ' '}{key}")
    teacher = teacher_of(task, objective)
    scorer = objective.bind(model, teacher, task)
    if isinstance(task.train, TaughtBatches) and scorer.uses_teacher:
        task.train.check(task.model, scorer.teacher_layers)
    chosen = tuple(model.parameters()) if trainable is None else trainable
    frozen = [p for p in model.parameters() if p.requires_grad and not any(p is q for q in chosen)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    for own in scorer.learned:
        own.data = own.data.to(device)
    processes.agree_(scorer.learned)
    # A wrapper only under torchrun; its `module` is `model` itself, so training stays in place.
    student = processes.accelerator.prepare_model(model)
    weights = [p for p in (*chosen, *scorer.learned) if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=training.learning_rate, weight_decay=training.weight_decay)
    with watch(model, scorer.student_layers) as seen:
        lesson = Lesson(task, student, seen, teacher.to(device), scorer)
        checkpoint = Checkpoint(task.scratch if resumable else None, key, model, scorer.learned, optimizer, carried)
        yield from _Loop(task, task.train, training, model, lesson, weights, checkpoint, processes).run()
    for parameter in frozen:
        parameter.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    model.cpu().eval()


@dataclass
class _Loop:
    task: Task
    data: Batches
    training: Training
    model: nn.Module
    lesson: Lesson
    weights: list[nn.Parameter]
    checkpoint: Checkpoint
    processes: Processes

    def run(self) -> Iterator[Progress]:
        per_epoch = count(self.data)
        num_steps = self.training.epochs * per_epoch
        place = self.checkpoint.read()
        resumed = place is not None
        place = place or Place()
        for ended in place.history:
            yield Progress(ended.epoch * per_epoch, num_steps, f"epoch {ended.epoch} taken up again", ended, again=True)
        while place.epoch <= self.training.epochs and not place.finished:
            yield from self._epoch(place, per_epoch, num_steps, resumed)
            resumed = False
        if self.training.early_stop is not None and self.checkpoint.best:
            put_back_(self.model, self.checkpoint.best)
        place.finished = True
        if self.processes.is_first:
            self.checkpoint.write(place)

    def _epoch(self, place: Place, per_epoch: int, num_steps: int, resumed: bool) -> Iterator[Progress]:
        batches = self._taken_up(place) if resumed and place.batch else self._begun()
        self.lesson.student.train()
        for batch in batches:
            value = self._batch(batch, place, per_epoch, num_steps)
            if not math.isfinite(value):
                raise TaskError(
                    f"training: the loss is {value} at step {place.done + 1} (epoch {place.epoch}, learning_rate "
                    f"{self.training.learning_rate:g}). Lower learning_rate, or set gradient_clip."
                )
            place.done, place.batch, place.total = place.done + 1, place.batch + 1, place.total + value
            place.smooth = value if place.smooth is None else 0.95 * place.smooth + 0.05 * value
            text, ended = f"epoch {place.epoch}/{self.training.epochs}, loss {place.smooth:.4f}", None
            if place.batch >= per_epoch:
                ended = self._ended(place)
            metric = place.history[-1].metric if place.history else None
            shown = "" if metric is None else f", {self.task.metric.name} {metric:.4f}"
            whole = place.batch % self.training.accumulation == 0 or ended is not None
            yield Progress(place.done, num_steps, text + shown, ended)
            if whole and self.checkpoint.due() and self.processes.is_first:
                self.checkpoint.write(place)

    @cached_property
    def _in_bf16(self) -> bool:
        """Whether a forward computes in bf16: where it is asked for and quick."""
        return self.training.precision == "bf16" and quick_in_bf16(self.processes.accelerator.device)

    def _batch(self, batch: Any, place: Place, per_epoch: int, num_steps: int) -> float:
        """Learns from one batch; the weights move with every `accumulation`th, and with the last of an epoch."""
        from accelerate.utils import send_to_device

        training, accelerator = self.training, self.processes.accelerator
        inputs, target, answers = batch
        (inputs, target, answers), weight = self.processes.share(inputs, (inputs, target, answers))
        inputs, target, answers = send_to_device((inputs, target, answers), accelerator.device)
        first = place.batch - place.batch % training.accumulation
        together = min(training.accumulation, per_epoch - first)
        optimizer = self.checkpoint.optimizer
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * training.rate_at(place.done, num_steps)
        with torch.autocast(accelerator.device.type, dtype=torch.bfloat16, enabled=self._in_bf16):
            loss: Tensor = self.lesson.loss(inputs, target, answers) * weight
        accelerator.backward(loss / together)
        if place.batch + 1 == first + together:
            self.processes.average_gradients_(self.lesson.scorer.learned)
            if training.gradient_clip is not None:
                accelerator.clip_grad_norm_(self.weights, training.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            apply_masks_(self.model)
        return self.processes.mean(loss)

    def _ended(self, place: Place) -> Epoch:
        """Looks at validation, keeps the best, and moves on to the next epoch."""
        metric = self._metric()
        ended = Epoch(place.epoch, place.total / max(1, place.batch), metric)
        patience = self.training.early_stop
        if patience is not None and metric is not None:
            earlier = [one.metric for one in place.history if one.metric is not None]
            better = [self.task.metric.drop(metric, one) for one in earlier]
            if all(gain > 0 for gain in better):
                self.checkpoint.best = {name: t.detach().clone() for name, t in weights_of(self.model).items()}
            since = _epochs_since_best(self.task, [*earlier, metric])
            place.finished = since >= patience
        place.history.append(ended)
        place.epoch, place.batch, place.total = place.epoch + 1, 0, 0.0
        return ended

    def _metric(self) -> float | None:
        if not self.training.validate or next(iter(self.task.validation))[1] is None:
            return None
        device = self.processes.accelerator.device
        metric = self.task.metric(*outputs_and_targets(self.task, self.model, _moved(self.task.validation, device)))
        self.lesson.student.train()
        return metric

    def _begun(self) -> Iterator[Any]:
        self.processes.agree_on_chance()
        self.checkpoint.epoch_chance = torch.random.get_rng_state()
        yield from self._drawn()

    def _taken_up(self, place: Place) -> Iterator[Any]:
        """The batches of a broken epoch that are left: drawn as they were, then chance as it stood."""
        now = torch.random.get_rng_state()
        assert self.checkpoint.epoch_chance is not None
        torch.random.set_rng_state(self.checkpoint.epoch_chance)
        batches = self._drawn()
        for _ in range(place.batch):
            next(batches)
        torch.random.set_rng_state(now)
        yield from batches

    def _drawn(self) -> Iterator[tuple[Any, Any, Any]]:
        """(inputs, target, the teacher's answers where they are on disk) of one pass."""
        if isinstance(self.data, TaughtBatches) and self.lesson.scorer.uses_teacher:
            for inputs, target, answers in self.data.lessons():
                yield inputs, target, (answers.output, dict(answers.layers))
        else:
            for inputs, target in self.data:
                yield inputs, target, None


def _epochs_since_best(task: Task, metrics: list[float]) -> int:
    best = 0
    for place, metric in enumerate(metrics):
        if task.metric.drop(metric, metrics[best]) > 0:
            best = place
    return len(metrics) - 1 - best


def _moved(data: Batches, device: torch.device) -> Iterator[Any]:
    from accelerate.utils import send_to_device

    for inputs, target in data:
        yield send_to_device((inputs, target), device)


def count(data: Batches) -> int:
    """How many batches one pass over `data` gives; counted by iterating where there is no `len`."""
    return len(data) if isinstance(data, Sized) else sum(1 for _ in data)
