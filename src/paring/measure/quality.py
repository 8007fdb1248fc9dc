"""How well a file answers, and how much worse than another, over the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

from paring.core.measurement import Quality
from paring.core.metric import Metric
from paring.core.task import Batches, Inputs, Task
from paring.engines import usable_cores
from paring.engines.protocol import Array, Session
from paring.errors import BatchError, EngineError, TaskError
from paring.measure.slices import agreement, class_drops
from paring.numerics.statistics import bootstrap_drop_interval, paired_drop_interval


def file_inputs(session: Session, inputs: Inputs) -> dict[str, Array]:
    """One batch's inputs under the names of the file: a dict by name, a tensor or a tuple in the file's order.

    Entries of a dict that the file does not have are left out (the exporter drops what the model ignores).
    Raises: EngineError if the file has inputs that the batch lacks, or a tuple has more tensors than the file inputs.
    """
    names = session.input_names
    if isinstance(inputs, Mapping):
        given: dict[str, Any] = {name: inputs[name] for name in names if name in inputs}
        lacking = [name for name in names if name not in inputs]
    else:
        tensors = [
            value for value in ((inputs,) if isinstance(inputs, Tensor) else inputs) if isinstance(value, Tensor)
        ]
        if len(tensors) > len(names):
            raise EngineError(f"a batch has {len(tensors)} input tensors, and the file takes {len(names)}: {names}.")
        given = dict(zip(names, tensors, strict=False))
        lacking = list(names[len(tensors) :])
    if lacking:
        raise EngineError(f"the file takes the inputs {', '.join(names)}, and the batch lacks {', '.join(lacking)}.")
    return {name: torch.as_tensor(value).detach().cpu().numpy() for name, value in given.items()}


def file_outputs(session: Session, data: Batches) -> tuple[Tensor, Tensor]:
    """The file's first output over all of `data`, and the targets: (n, ...) and (n, ...).

    Raises: TaskError for no batch, BatchError for a batch that is not (inputs, target), EngineError if it does not fit.
    """
    (outputs,), targets = outputs_side_by_side([session], data)
    return outputs, targets


def outputs_side_by_side(sessions: Sequence[Session], data: Batches) -> tuple[list[Tensor], Tensor]:
    """`file_outputs` of several files, with the same targets: each batch is read once, and run on several cores."""
    outputs: list[list[Tensor]] = [[] for _ in sessions]
    targets: list[Tensor] = []
    with ThreadPoolExecutor(max(1, min(len(sessions), len(usable_cores())))) as pool:
        for number, batch in enumerate(data):
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise BatchError(f"batch {number}: it is {type(batch).__name__}; it must be (inputs, target).")
            inputs, target = batch
            for answers, answer in zip(outputs, pool.map(partial(_answer, inputs), sessions), strict=True):
                answers.append(answer)
            targets.append(torch.as_tensor(target))
    if not targets:
        raise TaskError("the data set holds no batch; give at least one.")
    return [torch.cat(answers) for answers in outputs], torch.cat(targets)


def _answer(inputs: Inputs, session: Session) -> Tensor:
    return torch.from_numpy(session.run(file_inputs(session, inputs))[0])


def file_quality(
    session: Session,
    task: Task,
    data: Batches,
    baseline_outputs: Tensor | None = None,
    *,
    split: str,
    confidence: float = 0.95,
) -> Quality:
    """The task's metric on the file's own answers, against `baseline_outputs` (n, ...) over the same `data`.

    Without `baseline_outputs` the file is its own baseline: drop 0.
    """
    outputs, targets = file_outputs(session, data)
    before = outputs if baseline_outputs is None else baseline_outputs
    return quality(task.metric, before, outputs, targets, split=split, confidence=confidence, seed=task.seed)


def quality(
    metric: Metric,
    before: Tensor,
    after: Tensor,
    targets: Tensor,
    *,
    split: str,
    confidence: float = 0.95,
    seed: int = 0,
) -> Quality:
    """The metric of `after` and its drop from `before`, examples paired: all (n, ...).

    The interval is Tango's for 0/1 scores, a paired t interval for other per-example scores, and a paired bootstrap
    for a figure that is no mean. Raises TaskError unless the three have the same n.
    """
    n = len(targets)
    if n == 0:
        raise TaskError(f"{metric.name}: {split} holds no example; give at least one.")
    if not len(before) == len(after) == n:
        raise TaskError(
            f"{metric.name}: {len(before)} outputs before, {len(after)} after and {n} targets cannot be paired. "
            "Run both over the same data, in the same order."
        )
    figure = metric(after, targets)
    drop = metric.drop(metric(before, targets), figure)
    interval = _interval(metric, before, after, targets, confidence, seed) if n > 1 else None
    slices = class_drops(metric, before, after, targets, confidence=confidence, seed=seed)
    return Quality(split, figure, drop, interval, n, agreement(before, after, targets), slices)


def _interval(
    metric: Metric, before: Tensor, after: Tensor, targets: Tensor, confidence: float, seed: int
) -> tuple[float, float]:
    if metric.per_example is None:
        return bootstrap_drop_interval(
            metric, before, after, targets, higher_is_better=metric.higher_is_better, confidence=confidence, seed=seed
        )
    scores = [metric.per_example(outputs, targets).double().numpy() for outputs in (before, after)]
    first, second = scores if metric.higher_is_better else reversed(scores)
    return paired_drop_interval(first, second, confidence=confidence)
