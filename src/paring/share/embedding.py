"""Embedding tables for the coded file: each row as fine as its use is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError
from paring.graph.capture import Sweep
from paring.graph.curvature import output_curvature
from paring.graph.edits.weight_only import QuantizeEmbedding
from paring.graph.embedding import QuantizedRows
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.numerics.coded_rounding import power_of_two, rate_distortion_rows
from paring.share.closed_form import CODED, FINE, SMALLEST

RESOLUTION = 2  # the scales are powers of the square root of 2, so that they code in a few bits each


@final
@dataclass(frozen=True, kw_only=True)
class CodedEmbedding(Pass):
    """Embedding tables rounded with the cost of every bit in view, each row as fine as its use is worth.

    `slope` is that of `share.rate_distortion`: the mean loss one bit of the file may cost. A row that calibration looks
    up often gets a fine step and one that is rare a coarse one, `step ~ 1 / sqrt(frequency)`, after which every row
    adds about the same loss for its bits (reverse water-filling); a number is taken to zero where it is not worth its
    bits. `unseen` occurrences are added to every row's, so that rows which calibration does not show keep some bits.
    In the ONNX file it is a table of int8, looked up first and scaled after; `paring pack` makes it small.
    Reference: Cover & Thomas 2006, section 10.3.3.
    """

    name: ClassVar[str] = "share.embedding"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer embeddings"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "no gradient comes through integer layers to price the rows by. Put share.embedding first.",
        "integer embeddings": "the embeddings are integers already. Keep one of the two steps.",
    }

    slope: float = 1e-9  # mean loss a bit
    coarseness: float = 1.5  # the step, in units of the best fine one
    unseen: float = 1.0
    rounds: int = 3  # how often the bits are estimated anew

    def __post_init__(self) -> None:
        if min(self.slope, self.coarseness, self.unseen) <= 0 or self.rounds < 1:
            raise SettingError(
                f"{self.name}: slope {self.slope}, coarseness {self.coarseness} and unseen {self.unseen} must be "
                f"above 0, rounds {self.rounds} at least 1."
            )

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See the class. Raises BatchError without a batch, LayerError for NaN in a table; NothingToDoError."""
        assert task.calibration is not None
        names = []
        for name, table in (yield from accepted(targets(self, model, (nn.Embedding,)))):
            assert isinstance(table, nn.Embedding)
            if table.max_norm is not None:
                yield self.decline(name, "it renormalizes its rows (max_norm)")
            elif not torch.isfinite(table.weight).all():
                raise LayerError(f"{self.name}: {name}: the table holds NaN or infinity. Load a sound checkpoint.")
            else:
                names.append(name)
        sweep = Sweep(model, task.calibration, self.name)
        reached = [name for name in sweep.order(names) if sweep.reaches(name)]
        for name in (name for name in names if name not in reached):
            yield Declined(name, "no calibration batch reached it")
        curvatures = output_curvature(model, reached, task, self.name) if reached else {}
        for count, name in enumerate(reached, start=1):
            yield Progress(count, len(reached), f"rounding {name}")
            table = submodule(model, name)
            assert isinstance(table, nn.Embedding)
            q_VD, scale_V = self._rounded(
                table.weight.detach().cpu(), self._frequency(sweep, name, len(table.weight)), curvatures[name]
            )
            yield QuantizeEmbedding(name, 8)
            rows = submodule(model, name)
            assert isinstance(rows, QuantizedRows)
            rows.set_(q_VD, scale_V[:, None])

    def _frequency(self, sweep: Sweep, name: str, num_rows: int) -> Tensor:
        """Share of the lookups that read each row, (V,) float64, `unseen` added to each count."""
        count_V = torch.zeros(num_rows, dtype=torch.float64)

        def add(ids: Tensor) -> None:
            count_V.add_(torch.bincount(ids.flatten().long().cpu(), minlength=num_rows))

        sweep.inputs(name, add)
        return (count_V + self.unseen) / count_V.sum().clamp_min(1)

    def _rounded(self, W_VD: Tensor, frequency_V: Tensor, curvature_D: Tensor) -> tuple[Tensor, Tensor]:
        """(integers (V, D) int8, the step of each row (V,)); `curvature_D` as `output_curvature` gives it."""
        mean = float(curvature_D.mean())
        importance_D = curvature_D / mean if mean > 0 else torch.ones_like(curvature_D)
        price_V = frequency_V * max(mean / 2, SMALLEST)
        step_V = self.coarseness * FINE * torch.sqrt(self.slope / price_V)
        step_V = power_of_two(step_V.maximum(W_VD.abs().amax(1).double() / CODED).clamp_min(SMALLEST), RESOLUTION)
        tight = W_VD.abs().amax(1) > CODED * step_V  # rounded down to a power that is too small
        step_V = torch.where(tight, step_V * math.sqrt(2), step_V)
        return rate_distortion_rows(W_VD, price_V, step_V, self.slope, importance_D, self.rounds), step_V
