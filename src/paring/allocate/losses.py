"""How far answers are from what they were: KL between what both say of a target, never below 0.

One output an example may be a logit, a log rate or a value. Which one, the task's own loss says: at its expected
target (sigmoid, exp or the value itself) the loss has no slope, and the loss beyond that point is the divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.task import Batch, Batches, Task, batch_size_of, tensors_of

Mean = Callable[[Tensor], Tensor]
MEANS: dict[str, Mean] = {"logit": torch.sigmoid, "log rate": torch.exp, "value": lambda u: u}
FLAT = 1e-4
MOST_HELD = 1 << 28  # bytes of inputs


@dataclass(frozen=True)
class Yardstick:
    """What the original answers on some calibration data, and how another model's answers are held against it.

    `task` calibrates with the rest, so that options fitted with it are judged on data that they have not seen (whole
    plans perhaps on some that they have: training data may hold the calibration data). Targets are not looked at.
    """

    task: Task
    data: tuple[Batch, ...]
    before: Tensor
    kind: str

    def loss(self, model: nn.Module) -> float:
        """Nats an example (the task's loss where answers are values); inf where an answer is not finite."""
        return self.loss_of(self.answers(model))

    def answers(self, model: nn.Module) -> Tensor:
        """On the data, one after another."""
        return torch.cat(list(_answers(self.task, model, self.data)))

    def loss_of(self, after: Tensor) -> float:
        """Of answers on the data; see `loss`."""
        found = divergence(self.before, after, self.kind, self.task)
        return found if math.isfinite(found) else math.inf

    def sampled_loss(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Summed loss of these answers at targets drawn from them: its gradients' outer product is the curvature."""
        with torch.no_grad():
            target = _sampled(outputs.detach(), self.kind, generator)
        if self.kind == "classes":
            return functional.cross_entropy(outputs, target, reduction="sum")
        summed: Tensor = self.task.loss(outputs, target) * len(outputs)
        return summed


def yardstick(task: Task, original: nn.Module, num_examples: int, *, also: Batches | None = None) -> Yardstick:
    """The answers of `original` on `num_examples` of the calibration data, of every other batch or of the only one, and
    of `also` where that is fewer: as far as answers have the shape of the first, and inputs fit MOST_HELD."""
    assert task.calibration is not None
    data, before = _answered(task, original, EveryOther(task.calibration, 0), num_examples)
    missing = num_examples - sum(map(len, before))
    if also is not None and missing > 0:
        with torch.random.fork_rng(devices=[]):  # it may be shuffled
            torch.manual_seed(task.seed)
            more, answers = _answered(task, original, also, missing)
        alike = [place for place, answer in enumerate(answers) if answer.shape[1:] == before[0].shape[1:]]
        data, before = data + [more[place] for place in alike], before + [answers[place] for place in alike]
    rest = EveryOther(task.calibration, 1)
    fitting = replace(task, calibration=rest) if next(iter(rest), None) is not None else task
    joined = torch.cat(before)
    return Yardstick(fitting, tuple(data), joined, kind_of(joined, task))


def _answered(task: Task, model: nn.Module, data: Batches, num_examples: int) -> tuple[list[Batch], list[Tensor]]:
    """The first batches of `data`, at least one, and what the model answers to each."""
    held: list[Batch] = []
    size = 0
    for inputs, target in first_batches(data, num_examples):
        size += sum(tensor.nbytes for tensor in tensors_of(inputs).values())
        if held and size > MOST_HELD:
            break
        held.append((inputs, target))
    return held, list(_answers(task, model, held))


@torch.no_grad()
def _answers(task: Task, model: nn.Module, data: Iterable[Batch]) -> Iterator[Tensor]:
    was_training = model.training
    model.eval()
    try:
        for inputs, _ in data:
            yield task.predict(model, inputs)
    finally:
        model.train(was_training)


@dataclass(frozen=True, eq=False)
class EveryOther:
    """Batches 0, 2, 4, ... of `data`, or 1, 3, 5, ..."""

    data: Batches
    first: int

    def __iter__(self) -> Iterator[Batch]:
        return islice(iter(self.data), self.first, None, 2)


def first_batches(data: Batches, num_examples: int) -> Iterator[Batch]:
    """As many batches as hold `num_examples`, at least one."""
    seen = 0
    for inputs, target in islice(iter(data), 1_000_000):
        yield inputs, target
        seen += batch_size_of(inputs)
        if seen >= num_examples:
            return


def kind_of(outputs: Tensor, task: Task) -> str:
    """classes, logit, log rate or value."""
    if outputs.dim() >= 2 and outputs.shape[1] > 1:
        return "classes"
    for kind, mean in MEANS.items():
        u = outputs[:256].detach().clone().requires_grad_()
        try:
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(task.loss(u, mean(u.detach())), u)
        except Exception:  # the user's own loss: it may refuse targets of this kind, and then it is another
            continue
        if float(slope.abs().max()) * len(u) <= FLAT:
            return kind
    return "squares"


def divergence(before: Tensor, after: Tensor, kind: str, task: Task) -> float:
    """Of answers (n, classes, ...), or (n,) and (n, 1); relative squared error where the loss says nothing better.

    Example: logits (100, 10) before and after -> 0.003.
    """
    if kind == "classes":
        p, q = (functional.log_softmax(x.double().movedim(1, -1), -1) for x in (before, after))
        return max(float((p.exp() * (p - q)).sum(-1).mean()), 0.0)  # NaN stays NaN
    if kind == "squares":
        spread = float(before.double().var()) if before.numel() > 1 else 0.0
        return float((before.double() - after.double()).square().mean()) / (spread or 1.0)
    target = MEANS[kind](before.double())
    with torch.no_grad():
        return max(float(task.loss(after.double(), target) - task.loss(before.double(), target)), 0.0)


def _sampled(outputs: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    if kind == "classes":
        rows = outputs.movedim(1, -1).softmax(-1)
        drawn = torch.multinomial(rows.reshape(-1, rows.shape[-1]), 1, generator=generator)
        labels: Tensor = drawn.reshape(rows.shape[:-1])
        return labels
    mean = MEANS[kind](outputs) if kind in MEANS else outputs
    if kind == "logit":
        return torch.bernoulli(mean, generator=generator)
    if kind == "log rate":
        return torch.poisson(mean, generator=generator)
    noisy: Tensor = mean + 0.5**0.5 * torch.randn(mean.shape, generator=generator).to(mean)
    return noisy
