"""Quality seen closer: class by class, against the original's own answers, and against the training data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from paring.core.detail import Agreement, SliceDrop
from paring.core.metric import Metric
from paring.core.task import Batch, Task, batch_size_of
from paring.errors import ShapeError
from paring.numerics.statistics import bootstrap_drop_interval, paired_drop_interval

MOST_CLASSES = 100
SMALLEST = 2  # examples below which nothing is said of a slice


def agreement(before: Tensor, after: Tensor, targets: Tensor) -> Agreement | None:
    """How often both name the same class, and the mean KL divergence from `before` to `after`, in nats.

    None where the task is no classification: targets that are no class numbers.
    """
    if not _is_classes(before, targets):
        return None
    first, second = _two_columns(before), _two_columns(after)
    log_p, log_q = first.log_softmax(1), second.log_softmax(1)
    kl = functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1).mean()
    return Agreement(float((first.argmax(1) == second.argmax(1)).double().mean()), max(float(kl), 0.0))


def class_drops(
    metric: Metric, before: Tensor, after: Tensor, targets: Tensor, *, confidence: float = 0.95, seed: int = 0
) -> tuple[SliceDrop, ...]:
    """The drop within each class, largest first: for accuracy, the recall lost.

    Empty where targets are no classes, there are more than 100, or the metric is no mean over examples (AUC and F1
    mean nothing within one class).
    """
    if metric.per_example is None or not _is_classes(before, targets) or targets.ndim != 1:
        return ()
    classes = torch.unique(targets.long()).tolist()
    if not 2 <= len(classes) <= MOST_CLASSES:
        return ()
    groups = {f"class {number}": targets.long() == number for number in classes}
    return slice_drops(metric, before, after, targets, groups, confidence=confidence, seed=seed)


def slice_drops(
    metric: Metric,
    before: Tensor,
    after: Tensor,
    targets: Tensor,
    groups: Mapping[str, Tensor],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[SliceDrop, ...]:
    """The drop over each group of examples, largest first; groups may overlap, and one of fewer than 2 is left out.

    Args:
        groups: name -> boolean mask, (n,).
    Raises: ShapeError for a mask of another length.
    """
    found = []
    for name, mask in groups.items():
        if mask.shape != (len(targets),) or mask.dtype != torch.bool:
            raise ShapeError(f"slice {name!r}: its mask is {tuple(mask.shape)}; it must be boolean, ({len(targets)},).")
        if int(mask.sum()) >= SMALLEST:
            found.append(_drop(metric, name, before[mask], after[mask], targets[mask], confidence, seed))
    return tuple(sorted(found, key=lambda one: (-one.drop, one.name)))


def training_examples(task: Task, num_examples: int) -> list[Batch]:
    """The first batches of training data, with so many examples or a few more; none without training data.

    A loader that shuffles gives the same ones each time, and torch's generator is left as it was.
    """
    taken: list[Batch] = []
    seen = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        for inputs, target in () if task.train is None else task.train:
            taken.append((inputs, target))
            seen += batch_size_of(inputs)
            if seen >= num_examples:
                break
    return taken


def train_gap(task: Task, outputs: Tensor, targets: Tensor, held_out: float) -> float | None:
    """How much better the metric is on answers to training data, (n, ...) both, than `held_out`; None without labels
    (NaN)."""
    gap = task.metric.drop(task.metric(outputs, targets), held_out)
    return gap if math.isfinite(gap) else None


def _drop(
    metric: Metric, name: str, before: Tensor, after: Tensor, targets: Tensor, confidence: float, seed: int
) -> SliceDrop:
    figure = metric(after, targets)
    drop = metric.drop(metric(before, targets), figure)
    if metric.per_example is None:
        better = metric.higher_is_better
        interval = bootstrap_drop_interval(
            metric, before, after, targets, higher_is_better=better, confidence=confidence, seed=seed
        )
    else:
        scores = [metric.per_example(outputs, targets).double().numpy() for outputs in (before, after)]
        first, second = scores if metric.higher_is_better else reversed(scores)
        interval = paired_drop_interval(first, second, confidence=confidence)
    return SliceDrop(name, figure, drop, interval, len(targets))


def _is_classes(outputs: Tensor, targets: Tensor) -> bool:
    if outputs.ndim >= 2 and outputs.shape[1] > 1:
        return not targets.is_floating_point() and outputs.shape[:1] + outputs.shape[2:] == targets.shape
    return outputs.numel() == targets.numel() and bool(((targets == 0) | (targets == 1)).all())


def _two_columns(outputs: Tensor) -> Tensor:
    """Logits (n, classes, ...) in float64; one logit an example becomes two classes."""
    values = outputs.double()
    if values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1):
        flat = values.reshape(-1)
        return torch.stack((torch.zeros_like(flat), flat), dim=1)
    return values
