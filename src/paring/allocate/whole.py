"""From the parts to the whole model: its time and its bytes by those of its entries, and how far they are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from paring.allocate.made import made
from paring.allocate.option import Option, Unit, precision_passes, structure_passes
from paring.allocate.table import Entry, features
from paring.core.task import Task


@dataclass(frozen=True)
class Whole:
    """`ms = weights . features + ms_per_mb * max(0, megabytes read - knee_mb)`, `bytes = overhead + sum of parts`.

    Times are those of a quiet machine (`Samples.quiet_ms`); where others use it, medians lie above them.

    Layers are timed one by one, without what stands behind them: activations and sums take as long as the layers give
    numbers. Their weights are in the caches then; a model reads them all in turn, and what goes beyond the caches
    comes from memory, call by call. `residuals` are relative, of files left out of the fit. `dense_ms` and
    `dense_bytes` are of the exported model as it came, not coded. `node_bytes`: what a layer in each precision takes in
    the file's graph beyond one in floats.
    """

    weights: tuple[float, ...]
    residuals: tuple[float, ...]
    overhead_bytes: float
    dense_ms: float
    dense_bytes: float
    node_bytes: Mapping[str, float] = field(default_factory=dict)
    knee_mb: float = 0.0
    ms_per_mb: float = 0.0

    @property
    def residual(self) -> float:
        """Root mean square of the relative errors."""
        return float(np.sqrt(np.square(self.residuals).mean())) if self.residuals else 0.0

    def scaled(self, factor: float) -> Whole:
        """All its times so many times as long, but the model's own, which was taken."""
        weights = tuple(factor * weight for weight in self.weights)
        return replace(self, weights=weights, ms_per_mb=factor * self.ms_per_mb)

    def parts(self, entry: Entry) -> NDArray[np.float64]:
        """(3,): what this entry adds to the time of a model that the caches hold, to that of one that they do not, and
        to the file. The larger of the two times is the model's."""
        held = float(features(entry) @ np.array(self.weights[1:]))
        return np.array([held, held + self.ms_per_mb * entry.read_mb, self.part_bytes(entry)])

    def rest(self) -> NDArray[np.float64]:
        """(3,): what the model has of each beside its entries."""
        return np.array([self.weights[0], self.weights[0] - self.ms_per_mb * self.knee_mb, self.overhead_bytes])

    def ms(self, entries: Sequence[Entry]) -> float:
        """The whole model's time."""
        return float((self.rest() + np.sum([self.parts(entry) for entry in entries], axis=0))[:2].max())

    def part_bytes(self, entry: Entry) -> float:
        """What this entry adds to the whole file."""
        return entry.num_bytes + self.node_bytes.get(entry.option.precision, 0.0) * entry.num_layers

    def num_bytes(self, entries: Sequence[Entry]) -> float:
        """The whole file's bytes."""
        return self.overhead_bytes + sum(map(self.part_bytes, entries))


def joint(model: nn.Module, task: Task, choice: Mapping[Unit, Option]) -> nn.Module:
    """A copy of `model` with every unit as chosen."""
    return made(model, task, [*structure_passes(choice), *precision_passes(choice)])
