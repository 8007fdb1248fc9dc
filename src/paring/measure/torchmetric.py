"""Any torchmetrics metric as a figure of quality, in one line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paring.core.metric import Metric
from paring.errors import SettingError


def from_torchmetrics(
    metric: Any, *, name: str | None = None, higher_is_better: bool | None = None, unit: str = ""
) -> Metric:
    """`metric`, an instance of a torchmetrics class or one of its functions, as a Metric.

    Outputs reach it as the model gives them (torchmetrics turns logits into probabilities itself), but for two shapes:
    a `Binary...` metric gets the logit difference of a net with two outputs, and (n, 1) outputs lose their last
    dimension beside (n,) targets. The instance itself is never changed.

    Args:
        higher_is_better: needed where torchmetrics does not say, as for functions.
    Raises: SettingError if the direction is unknown, or a class was given and no instance of it.
    Example: `Task(metric=from_torchmetrics(MulticlassF1Score(num_classes=10)), ...)`
    """
    label = str(name or getattr(metric, "__name__", type(metric).__name__))
    if isinstance(metric, type) or not callable(metric):
        raise SettingError(f"from_torchmetrics: {label} is no instance; write {label}(...) with its settings.")
    better = getattr(metric, "higher_is_better", None) if higher_is_better is None else higher_is_better
    if better is None:
        raise SettingError(f"from_torchmetrics: {label} does not say its direction; give higher_is_better=.")
    stateful = hasattr(metric, "update") and hasattr(metric, "compute")
    binary = label.lower().startswith("binary") or type(metric).__name__.startswith("Binary")

    def figure(outputs: Tensor, targets: Tensor) -> float:
        fitted = _fitted(outputs, targets, binary)
        if not stateful:
            return float(metric(fitted, targets))
        own = metric.clone()
        own.reset()
        own.update(fitted, targets)
        return float(own.compute())

    return Metric(label, figure, higher_is_better=bool(better), unit=unit)


def _fitted(outputs: Tensor, targets: Tensor, binary: bool) -> Tensor:
    if binary and outputs.ndim == 2 and outputs.shape[1] == 2 and targets.ndim == 1:
        return torch.sigmoid(outputs[:, 1] - outputs[:, 0])
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        return outputs.squeeze(-1)
    return outputs
