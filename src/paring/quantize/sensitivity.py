"""How much each layer's integers alone change the answers, and which layers to leave in floats for a budget."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from paring.core.edit import Progress
from paring.core.measurement import Quality
from paring.core.task import Batches, Task, outputs_and_targets
from paring.measure.quality import quality
from paring.quantize.plan import Plan, mixed


@dataclass(frozen=True)
class Sensitivity:
    """One unit (a layer, or `name()` for the operations of a module) and what its integers alone do to the answers."""

    unit: str
    divergence: float


@dataclass(frozen=True)
class Verdict:
    """Which units stay in floats, and the drop on validation with all others in integers."""

    kept: tuple[str, ...]
    quality: Quality
    max_drop: float

    @property
    def is_within(self) -> bool:
        """Whether the drop is inside the budget."""
        return self.quality.drop <= self.max_drop

    def __str__(self) -> str:
        low, high = self.quality.drop_interval or (self.quality.drop, self.quality.drop)
        ending = "within" if self.is_within else "still above"
        return f"drop {self.quality.drop:.4g} ({low:.4g} to {high:.4g}), {ending} max_drop {self.max_drop:g}"


def divergence(before: Tensor, after: Tensor) -> float:
    """Mean KL divergence (nats) of the answers' distributions, (n, classes); for other answers the relative error.

    Example: logits (100, 10) before and after -> 0.003.
    """
    if before.dim() >= 2 and before.shape[-1] > 1:
        p, q = (functional.log_softmax(x.double(), -1) for x in (before, after))
        return float((p.exp() * (p - q)).sum(-1).mean())
    spread = float(before.double().var()) if before.numel() > 1 else 0.0
    return float((before.double() - after.double()).square().mean()) / (spread or 1.0)


def sensitivities(
    model: nn.Module, full: nn.Module, plan: Plan, task: Task, data: Batches
) -> Generator[Progress, None, list[Sensitivity]]:
    """Every unit of `plan`, the most sensitive first, on `data`; `full` is `model` with the whole plan applied."""
    before, _ = outputs_and_targets(task, model, data)
    found = []
    for count, unit in enumerate(plan.units, start=1):
        alone = mixed(model, full, plan.without(other for other in plan.units if other != unit))
        found.append(Sensitivity(unit, divergence(before, outputs_and_targets(task, alone, data)[0])))
        yield Progress(count, len(plan.units), "sensitivity of each layer")
    return sorted(found, key=lambda one: (-one.divergence, one.unit))


def within_drop(
    model: nn.Module, plan: Plan, task: Task, max_drop: float
) -> Generator[Progress, None, tuple[Verdict, list[Sensitivity]]]:
    """The fewest of the most sensitive units that must stay in floats for the drop on `validation` to fit.

    Tries none, one, two, four, ... and then halves the gap. Where even the last try does not fit, the try with the
    smallest drop is returned.
    """
    full = in_integers(model, plan, task)
    before, targets = outputs_and_targets(task, model, task.validation)
    tried: dict[int, Verdict] = {}
    ranked: list[Sensitivity] = []

    def attempt(count: int) -> Verdict:
        kept = tuple(one.unit for one in ranked[:count])
        after, _ = outputs_and_targets(task, mixed(model, full, plan.without(kept)), task.validation)
        seen = quality(task.metric, before, after, targets, split="validation", seed=task.seed)
        tried[count] = Verdict(kept, seen, max_drop)
        return tried[count]

    yield Progress(0, len(plan.units), "drop with every layer in integers")
    if attempt(0).is_within:
        return tried[0], ranked
    assert task.calibration is not None
    ranked = yield from sensitivities(model, full, plan, task, task.calibration)
    last, count = 0, 1
    while count < len(ranked) and not attempt(count).is_within:
        yield Progress(count, len(ranked), f"{count} layers in floats: {tried[count]}")
        last, count = count, 2 * count
    if count >= len(ranked):
        return min(tried.values(), key=lambda one: (one.quality.drop, len(one.kept))), ranked
    while count - last > 1:
        middle = (last + count) // 2
        last, count = (last, middle) if attempt(middle).is_within else (middle, count)
        yield Progress(middle, len(ranked), f"{middle} layers in floats: {tried[middle]}")
    return tried[count], ranked


def in_integers(model: nn.Module, plan: Plan, task: Task) -> nn.Module:
    """A copy of `model` with the whole plan applied."""
    made = copy.deepcopy(model)
    for edit in plan.edits(made, task):
        made = edit.apply(made)
    return made


def bars(found: Sequence[Sensitivity], width: int = 40) -> list[str]:
    """A bar a unit, the longest `width` characters, on a linear scale."""
    longest = max((one.divergence for one in found), default=0.0) or 1.0
    return ["█" * max(1, round(width * one.divergence / longest)) for one in found]
