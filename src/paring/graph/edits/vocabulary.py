"""Embedding rows really removed, with the map from old ids to new ones inside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import ShapeError
from paring.graph.sites import replace, submodule


class MappedEmbedding(nn.Module):
    """`rows(id_map[ids])`: an embedding of fewer rows that takes the ids of the whole vocabulary.

    Exported as two Gather nodes, so that the file needs nothing else. `rows` is a plain embedding, so that whatever
    comes later finds it.
    """

    id_map: Tensor

    def __init__(self, weight: nn.Parameter, num_ids: int, num_rows: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(num_rows, weight.shape[1], _weight=weight.detach())
        self.rows.weight = weight
        self.register_buffer("id_map", torch.zeros(num_ids, dtype=torch.int32, device=weight.device))

    @property
    def weight(self) -> Tensor:
        """The rows that are left, (rows, embedding_dim)."""
        return self.rows.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (...) of the whole vocabulary -> (..., embedding_dim)."""
        return self.rows(self.id_map[ids])  # type: ignore[no-any-return]


@final
@dataclass(frozen=True)
class SliceVocabulary(Edit):
    """Keeps the rows `kept` of embedding `layer`; every other id reads the row of `unknown`, one of the kept.

    Raises: ShapeError for another kind of layer, a row outside it, or an `unknown` that is not kept.
    """

    layer: str
    kept: tuple[int, ...]
    unknown: int

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`."""
        old = submodule(model, self.layer)
        if not isinstance(old, nn.Embedding) or old.max_norm is not None:
            raise ShapeError(f"{self.layer}: only a plain Embedding gives up rows, not a {type(old).__name__}.")
        num_ids = old.num_embeddings
        if not self.kept or max(self.kept) >= num_ids or self.unknown not in self.kept:
            raise ShapeError(
                f"{self.layer}: cannot keep {len(self.kept)} of {num_ids} rows, unknown id {self.unknown}."
            )
        rows = torch.tensor(self.kept, dtype=torch.long, device=old.weight.device)
        weight = nn.Parameter(old.weight.detach().index_select(0, rows), old.weight.requires_grad)
        new = MappedEmbedding(weight, num_ids, len(self.kept)).train(old.training)
        new.id_map.fill_(self.kept.index(self.unknown))
        places = torch.arange(len(self.kept), dtype=torch.int32, device=rows.device)
        new.id_map.index_copy_(0, rows, places)
        return replace(model, self.layer, new)
