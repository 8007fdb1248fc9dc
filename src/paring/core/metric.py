"""A quality figure and its direction. The built-in ones live in `paring.measure.metrics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from paring.errors import ParingError, TaskError

ROUNDING = 1e-7  # how far a difference of two figures strays, where they are of single precision


def within(drop: float, limit: float) -> bool:
    """Whether a drop keeps its limit: 5 of 500 keep 0.01, whatever their last bits. NaN keeps none."""
    return drop <= limit + ROUNDING


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
        """The figure over all examples: outputs (n, ...), targets (n, ...). Raises TaskError if the function fails."""
        try:
            return float(self.function(outputs, targets))
        except ParingError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            raise TaskError(f"metric {self.name}: it fails on {shapes}: {reason}") from error

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`, in the metric's own unit; negative when it is better."""
        return before - after if self.higher_is_better else after - before
