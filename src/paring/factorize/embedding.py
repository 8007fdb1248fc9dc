"""Embedding tables of low rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, UnknownNameError
from paring.factorize.options import embedding_view, settle
from paring.factorize.rank import RankChoice, Ratio
from paring.graph.capture import Sweep, input_shapes
from paring.graph.edits.factorize_embedding import FactorizeEmbedding, LowRankEmbedding
from paring.graph.targets import targets
from paring.numerics.factor import table_parts

Weighting = Literal["frequency", "uniform"]


@final
@dataclass(frozen=True)
class Embedding(Pass):
    """Each embedding table becomes a thinner one and a Linear behind it: smaller, seldom faster.

    `weighting` "frequency" gives a row the weight of how often the calibration data looks it up, plus one, so that
    common rows are kept best; "uniform" is the plain SVD of the table. Tables that renormalize their rows are declined.
    Raises: ShapeError for a rank above full, LayerError for NaN in a table.
    Reference: Lan et al. 2020 (ALBERT, factorized embeddings), arXiv:1909.11942; frequency-weighted: Chen et al. 2018
        (GroupReduce), arXiv:1806.06950.
    """

    name: ClassVar[str] = "factorize.embedding"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer tables cannot be factorized. Put factorize.embedding before the quantization.",
        "integer embeddings": "integer tables cannot be factorized. Put factorize.embedding before the quantization.",
        "zeros": "the factors of a sparse table are dense, so its zeros would be lost. Put factorize.embedding first.",
    }

    rank: RankChoice = field(default_factory=lambda: Ratio(0.5))
    weighting: Weighting = "frequency"

    def __post_init__(self) -> None:
        if self.weighting not in get_args(Weighting):
            raise UnknownNameError("weighting", self.weighting, get_args(Weighting), self.name)

    def requirements(self) -> frozenset[str]:
        """Calibration data to count look-ups, else nothing."""
        return self.needs if self.weighting == "frequency" else frozenset()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one FactorizeEmbedding a table, or Declined where the rank saves nothing."""
        names: list[str] = []
        for layer, dense in (yield from accepted(targets(self, model, (nn.Embedding,)))):
            assert isinstance(dense, nn.Embedding)
            if dense.max_norm is not None:
                yield self.decline(layer, f"it renormalizes its rows to max_norm {dense.max_norm} at every look-up")
            else:
                names.append(layer)
        shapes = input_shapes(model, names, task.example_inputs)
        for layer in names:
            dense = model.get_submodule(layer)
            assert isinstance(dense, nn.Embedding)
            weight_V = None if self.weighting == "uniform" else _look_ups(model, layer, dense, task, self.name)
            try:
                parts = table_parts(dense.weight.detach(), weight_V)
            except LayerError as error:
                raise LayerError(f"{self.name}: {layer}: {error}. Load a sound checkpoint.") from error
            ranks = settle(self.rank, embedding_view(layer, dense, parts, shapes.get(layer), task.example_inputs))
            if isinstance(ranks, Declined):
                yield ranks
                continue
            yield FactorizeEmbedding(layer, ranks[0])
            factors = model.get_submodule(layer)
            assert isinstance(factors, LowRankEmbedding)
            factors.set_(*parts.cut(ranks[0]))


def _look_ups(model: nn.Module, layer: str, dense: nn.Embedding, task: Task, where: str) -> Tensor:
    """How often each row is looked up on the calibration data, plus one, (rows,)."""
    assert task.calibration is not None
    count_V = torch.ones(dense.num_embeddings, dtype=torch.float64)

    def add(x: Tensor) -> None:
        count_V.add_(torch.bincount(x.flatten().long(), minlength=len(count_V)))

    Sweep(model, task.calibration, where).inputs(layer, add)
    return count_V
