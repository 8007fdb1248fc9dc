"""A quality figure and its direction. The built-in ones live in `paring.measure.metrics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A named figure computed from all outputs at once.

    `function(outputs, targets)` receives every output of a data set, concatenated along the batch, so that figures
    that are no per-example means (AUC, F1) are right. `per_example`, where the figure is a mean of per-example
    scores, gives those scores, (n,): intervals are then paired over examples without recomputing the figure.
    """

    name: str
    function: Callable[[Tensor, Tensor], float]
    higher_is_better: bool = True
    unit: str = ""
    per_example: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """The figure over all examples: outputs (n, ...), targets (n, ...)."""
        return float(self.function(outputs, targets))

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`, in the metric's own unit; negative when it is better."""
        return before - after if self.higher_is_better else after - before
