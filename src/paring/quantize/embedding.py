"""Embeddings in 8 or 4 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError
from paring.graph.edits.weight_only import QuantizeEmbedding
from paring.graph.embedding import QuantizedRows
from paring.graph.targets import targets
from paring.numerics.grid import choose_grid


@final
@dataclass(frozen=True)
class Embedding(Pass):
    """Embedding tables in 8 or 4 bits, one scale a row; integers are gathered first and scaled after.

    At 4 bits each row's scale is the one of least squared error (with `clip`, else the one that clips nothing, as at 8
    bits), and two numbers share a byte. An EmbeddingBag over bags of equal length becomes a gather and a reduction.
    Tables tied to an output layer are declined.
    Reference: Guan et al. 2019, arXiv:1911.02079.
    """

    name: ClassVar[str] = "quantize.embedding"
    needs: ClassVar[frozenset[str]] = frozenset()
    traits: ClassVar[frozenset[str]] = frozenset({"integer embeddings"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer embeddings": "the embeddings are integers already. Keep one of the two steps."
    }

    num_bits: int = 8
    clip: bool = True

    def __post_init__(self) -> None:
        if self.num_bits not in (4, 8) or isinstance(self.num_bits, bool):
            raise SettingError(f"{self.name}: num_bits is {self.num_bits}; it must be 8 or 4.")

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one QuantizeEmbedding a table. Raises LayerError for NaN in a table; NothingToDoError."""
        for name, table in (yield from accepted(targets(self, model, (nn.Embedding, nn.EmbeddingBag)))):
            if reason := _unwilling(table):
                yield self.decline(name, reason)
                continue
            assert isinstance(table, nn.Embedding | nn.EmbeddingBag)
            W_VD = table.weight.detach()
            try:
                grid = choose_grid(W_VD, self.num_bits, clip=self.clip and self.num_bits == 4)
            except LayerError as error:
                raise LayerError(f"{self.name}: {name}: {error}. Load a sound checkpoint.") from error
            yield QuantizeEmbedding(name, self.num_bits)
            rows = model.get_submodule(name)
            assert isinstance(rows, QuantizedRows)
            rows.set_(grid.nearest(W_VD), grid.scale_OG)


def _unwilling(table: nn.Module) -> str | None:
    if table.max_norm is not None:
        return "it renormalizes its rows (max_norm)"
    if isinstance(table, nn.EmbeddingBag) and table.include_last_offset:
        return "its bags are given by offsets (include_last_offset)"
    return None
