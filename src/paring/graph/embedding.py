"""Embeddings stored in 8 or 4 bits, one scale a row: integers are gathered first and scaled after."""

from __future__ import annotations

from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.errors import ForwardError


class QuantizedRows(nn.Module):
    """A table: `rows` (V, D) int8 and `row_scale` (V, 1).

    In 4 bits `rows` are (V, ceil(D / 2)) uint8, two numbers a byte, the first half of a row in the high ones.
    """

    rows: Tensor
    row_scale: Tensor

    def __init__(self, layer: nn.Embedding | nn.EmbeddingBag, num_bits: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = layer.num_embeddings, layer.embedding_dim
        self.num_bits, self.padding_idx = num_bits, layer.padding_idx
        width = self.embedding_dim if num_bits == 8 else -(-self.embedding_dim // 2)
        table = layer.weight.detach()
        dtype = torch.int8 if num_bits == 8 else torch.uint8
        self.register_buffer("rows", table.new_zeros((len(table), width), dtype=dtype))
        self.register_buffer("row_scale", table.new_ones((len(table), 1)))
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The table that the integers stand for, (V, D) float."""
        return self.gathered(torch.arange(self.num_embeddings, device=self.rows.device))

    @torch.no_grad()
    def set_(self, q_VD: Tensor, row_scale: Tensor) -> None:
        """Puts numbers in: q_VD int8, row_scale (V, 1)."""
        if self.num_bits == 4:
            half = self.rows.shape[1]
            padded = functional.pad(q_VD.long() + 8, (0, 2 * half - self.embedding_dim))
            q_VD = (padded[:, :half] * 16 + padded[:, half:]).to(torch.uint8)
        self.rows.copy_(q_VD)
        self.row_scale.copy_(row_scale)

    def gathered(self, ids: Tensor) -> Tensor:
        """Rows of these numbers, (..., D) float."""
        # By `embedding`, not by index: that would become a GatherND, which is slow and takes no int32.
        numbers = functional.embedding(ids, self.rows).to(self.row_scale.dtype)
        if self.num_bits == 4:
            # In floats, which every engine has: byte = 16 * high + low, each 8 above its number.
            numbers = torch.cat((torch.floor(numbers / 16), torch.fmod(numbers, 16)), -1) - 8
            if self.embedding_dim % 2:
                numbers = numbers[..., : self.embedding_dim]
        return numbers * functional.embedding(ids, self.row_scale)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, num_bits={self.num_bits}"


@final
class QuantizedEmbedding(QuantizedRows):
    """`nn.Embedding` from integers."""

    def forward(self, ids: Tensor) -> Tensor:
        return self.gathered(ids)


@final
class QuantizedEmbeddingBag(QuantizedRows):
    """`nn.EmbeddingBag` over bags of equal length, ids (batch, length), as a gather and a reduction.

    The offsets form has bags of any length, which a file could only walk in a loop that OpenVINO refuses.
    """

    def __init__(self, layer: nn.EmbeddingBag, num_bits: int) -> None:
        super().__init__(layer, num_bits)
        self.mode = layer.mode

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        if offsets is not None or input.dim() != 2:
            raise ForwardError(
                "QuantizedEmbeddingBag: it takes ids (batch, length) without offsets. Exclude this layer."
            )
        rows = self.gathered(input)
        if per_sample_weights is not None:
            rows = rows * per_sample_weights[..., None]
        if self.padding_idx is None:
            return cast(Tensor, rows.amax(1) if self.mode == "max" else getattr(rows, self.mode)(1))
        real = (input != self.padding_idx)[..., None]
        if self.mode == "max":
            best = rows.masked_fill(~real, -torch.inf).amax(1)
            return torch.where(real.any(1), best, torch.zeros_like(best))
        total = (rows * real.to(rows.dtype)).sum(1)
        return total if self.mode == "sum" else total / real.sum(1).clamp_min(1).to(rows.dtype)
