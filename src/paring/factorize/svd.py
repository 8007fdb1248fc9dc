"""Low rank by plain singular value decomposition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Declined, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.factorize.rank import RankChoice, Ratio
from paring.graph.edits.factorize import Factorize, LowRankLinear
from paring.graph.targets import targets
from paring.numerics.factor import break_even_rank, truncated_svd


@final
@dataclass(frozen=True)
class Svd(Pass):
    """Each Linear becomes two thinner ones, optimal in the weights' own norm (Eckart and Young 1936, doi:10.1007/BF02288367).

    A rank at which the two factors hold as many numbers as the dense layer is declined: it would only add a call.
    """

    name: ClassVar[str] = "factorize.svd"
    needs: ClassVar[frozenset[str]] = frozenset()
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be factorized. Put factorize.svd before the quantization.",
        "zeros": "the factors of a sparse weight are dense, so its zeros would be lost. Put factorize.svd first.",
    }

    rank: RankChoice = field(default_factory=lambda: Ratio(0.5))

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one Factorize a layer, or Declined where the rank saves nothing."""
        for found in list(targets(self, model, (nn.Linear,))):
            if isinstance(found, Declined):
                yield found
                continue
            layer, dense = found
            assert isinstance(dense, nn.Linear)
            W_OI = dense.weight.detach()
            rank, limit = self.rank.rank_of(W_OI, layer), break_even_rank(*W_OI.shape)
            if rank > limit:
                shape = f"{W_OI.shape[0]} x {W_OI.shape[1]}"
                yield Declined(layer, f"rank {rank} saves nothing on {shape}: {limit} is the largest that does")
                continue
            A_OR, B_RI = truncated_svd(W_OI, rank)
            yield Factorize(layer, rank)
            factors = model.get_submodule(layer)
            assert isinstance(factors, LowRankLinear)
            factors.set_(A_OR, B_RI)
