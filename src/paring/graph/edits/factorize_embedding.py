"""An embedding table as a thinner one and a Linear behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import ShapeError
from paring.graph.sites import replace, submodule


class LowRankEmbedding(nn.Sequential):
    """Child 0 is the table, (num_embeddings, rank), child 1 a Linear, (embedding_dim, rank) without bias."""

    @property
    def num_embeddings(self) -> int:
        """As of the table."""
        return self._parts()[0].num_embeddings

    @property
    def embedding_dim(self) -> int:
        """Width of what comes out."""
        return self._parts()[1].out_features

    def set_(self, table_VR: Tensor, B_RD: Tensor) -> None:
        """Puts the factors in: (num_embeddings, rank) and (rank, embedding_dim)."""
        table, linear = self._parts()
        table.weight.data.copy_(table_VR)
        linear.weight.data.copy_(B_RD.T)

    def _parts(self) -> tuple[nn.Embedding, nn.Linear]:
        table, linear = self
        assert isinstance(table, nn.Embedding) and isinstance(linear, nn.Linear)
        return table, linear


@final
@dataclass(frozen=True)
class FactorizeEmbedding(Edit):
    """Replaces Embedding `layer` by a LowRankEmbedding of this rank; the padding row stays a padding row."""

    layer: str
    rank: int

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`. Raises ShapeError if `layer` is no Embedding, or renormalizes its rows."""
        dense = submodule(model, self.layer)
        if not isinstance(dense, nn.Embedding) or dense.max_norm is not None:
            kind = type(dense).__name__ if not isinstance(dense, nn.Embedding) else "Embedding with max_norm"
            raise ShapeError(f"FactorizeEmbedding: {self.layer} is a {kind}; only a plain Embedding can be factorized.")
        device, dtype = dense.weight.device, dense.weight.dtype
        table = nn.Embedding(
            dense.num_embeddings,
            self.rank,
            padding_idx=dense.padding_idx,
            scale_grad_by_freq=dense.scale_grad_by_freq,
            sparse=dense.sparse,
            device=device,
            dtype=dtype,
        )
        linear = nn.Linear(self.rank, dense.embedding_dim, bias=False, device=device, dtype=dtype)
        return replace(model, self.layer, LowRankEmbedding(table, linear).train(dense.training))
