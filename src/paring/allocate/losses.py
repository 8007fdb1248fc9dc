"""How far answers are from what they were: KL between what both say of a target, never below 0.

One output an example may be a logit, a log rate or a value. Which one, the task's own loss says: at its expected
target (sigmoid, exp or the value itself) the loss has no slope, and the loss beyond that point is the divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.task import Batch, Batches, Task, batch_size_of, outputs_and_targets

Mean = Callable[[Tensor], Tensor]
MEANS: dict[str, Mean] = {"logit": torch.sigmoid, "log rate": torch.exp, "value": lambda u: u}
FLAT = 1e-4


@dataclass(frozen=True)
class Yardstick:
    """What the original answers on some calibration data, and how another model's answers are held against it.

    `task` calibrates with the rest, so that options fitted with it are judged on data that they have not seen.
    """

    task: Task
    data: tuple[Batch, ...]
    before: Tensor
    kind: str

    def loss(self, model: nn.Module) -> float:
        """Nats an example (the task's loss where answers are values)."""
        after, _ = outputs_and_targets(self.task, model, self.data)
        return divergence(self.before, after, self.kind, self.task)

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
    of `also` where that is fewer."""
    assert task.calibration is not None
    held = EveryOther(task.calibration, 0)
    with torch.random.fork_rng(devices=[]):  # `also` may be shuffled
        torch.manual_seed(task.seed)
        data = tuple(first_batches(held if also is None else Joined(held, also), num_examples))
    before, _ = outputs_and_targets(task, original, data)
    rest = EveryOther(task.calibration, 1)
    fitting = replace(task, calibration=rest) if next(iter(rest), None) is not None else task
    return Yardstick(fitting, data, before, kind_of(before, task))


@dataclass(frozen=True, eq=False)
class EveryOther:
    """Batches 0, 2, 4, ... of `data`, or 1, 3, 5, ..."""

    data: Batches
    first: int

    def __iter__(self) -> Iterator[Batch]:
        return islice(iter(self.data), self.first, None, 2)


@dataclass(frozen=True, eq=False)
class Joined:
    """The batches of `first`, then those of `second`."""

    first: Batches
    second: Batches

    def __iter__(self) -> Iterator[Batch]:
        return chain(iter(self.first), iter(self.second))


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
        return max(0.0, float((p.exp() * (p - q)).sum(-1).mean()))
    if kind == "squares":
        spread = float(before.double().var()) if before.numel() > 1 else 0.0
        return float((before.double() - after.double()).square().mean()) / (spread or 1.0)
    target = MEANS[kind](before.double())
    with torch.no_grad():
        return max(0.0, float(task.loss(after.double(), target) - task.loss(before.double(), target)))


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
