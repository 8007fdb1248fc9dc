"""nn.TransformerEncoder as plain Linears, outputs unchanged, so that every pass can see and cut its projections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.sites import replace, submodule


class PlainAttention(nn.Module):
    """Self-attention from four Linears: (b, t, d) -> (b, t, d). Masks add to the scores; True hides a key."""

    def __init__(self, fused: nn.MultiheadAttention) -> None:
        super().__init__()
        width, device, dtype = fused.embed_dim, fused.in_proj_weight.device, fused.in_proj_weight.dtype
        self.num_heads, self.head_dim, self.dropout = fused.num_heads, fused.head_dim, fused.dropout
        has_bias = fused.in_proj_bias is not None

        def linear() -> nn.Linear:
            return nn.Linear(width, width, bias=has_bias, device=device, dtype=dtype)

        self.q_proj, self.k_proj, self.v_proj = linear(), linear(), linear()
        self.out_proj = nn.Linear(width, width, bias=fused.out_proj.bias is not None, device=device, dtype=dtype)
        self.out_proj.weight, self.out_proj.bias = fused.out_proj.weight, fused.out_proj.bias
        for place, layer in enumerate((self.q_proj, self.k_proj, self.v_proj)):
            rows = slice(place * width, (place + 1) * width)
            layer.weight = nn.Parameter(fused.in_proj_weight.detach()[rows].clone())
            if has_bias:
                layer.bias = nn.Parameter(fused.in_proj_bias.detach()[rows].clone())

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` broadcasts to (b, heads, t, t), added to the scores."""
        b, t, _ = x.shape
        q, k, v = (
            layer(x).view(b, t, -1, self.head_dim).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.out_proj(mixed.transpose(1, 2).reshape(b, t, -1))  # type: ignore[no-any-return]


class PlainEncoderLayer(nn.Module):
    """What `nn.TransformerEncoderLayer` computes, batch first."""

    def __init__(self, fused: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.self_attn = PlainAttention(fused.self_attn)
        self.linear1, self.linear2 = fused.linear1, fused.linear2
        self.norm1, self.norm2 = fused.norm1, fused.norm2
        self.dropout, self.dropout1, self.dropout2 = fused.dropout, fused.dropout1, fused.dropout2
        self.norm_first = fused.norm_first
        self.activation: Callable[[Tensor], Tensor] = fused.activation

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(b, t, d) -> (b, t, d)."""
        if self.norm_first:
            x = x + self.dropout1(self.self_attn(self.norm1(x), mask))
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self.dropout1(self.self_attn(x, mask)))
        return self.norm2(x + self._feed_forward(x))  # type: ignore[no-any-return]

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))  # type: ignore[no-any-return]


class PlainEncoder(nn.Module):
    """What `nn.TransformerEncoder` computes. Padded positions hold values, where the fused fast path leaves zeros."""

    def __init__(self, fused: nn.TransformerEncoder) -> None:
        super().__init__()
        layers = [layer for layer in fused.layers if isinstance(layer, nn.TransformerEncoderLayer)]
        self.layers = nn.ModuleList(PlainEncoderLayer(layer) for layer in layers)
        self.norm = fused.norm
        self.batch_first = layers[0].self_attn.batch_first

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """As `nn.TransformerEncoder`; `is_causal` alone is a hint and changes nothing."""
        x = src if self.batch_first else src.transpose(0, 1)
        added = _added(mask, x.dtype)
        if src_key_padding_mask is not None:
            hidden = _added(src_key_padding_mask, x.dtype)
            assert hidden is not None
            hidden = hidden[:, None, None, :]
            added = hidden if added is None else added + hidden
        for layer in self.layers:
            x = layer(x, added)
        x = x if self.norm is None else self.norm(x)
        return x if self.batch_first else x.transpose(0, 1)


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, float("-inf"))


@final
@dataclass(frozen=True)
class UnfuseAttention(Edit):
    """Replaces the `nn.TransformerEncoder` called `layer` by plain Linears; outputs stay the same.

    Raises: LayerError for another kind of module, or an attention with options that plain Linears do not have.
    """

    layer: str

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`."""
        fused = submodule(model, self.layer)
        if (reason := unwilling(fused)) is not None:
            raise LayerError(f"UnfuseAttention: {self.layer or 'the model itself'}: {reason}.")
        assert isinstance(fused, nn.TransformerEncoder)
        return replace(model, self.layer, PlainEncoder(fused).train(fused.training))


def unwilling(module: nn.Module) -> str | None:
    """Why this module cannot be unfused, or None."""
    if type(module) is not nn.TransformerEncoder:
        return f"it is a {type(module).__name__}, and only nn.TransformerEncoder is unfused"
    for layer in module.layers:
        if type(layer) is not nn.TransformerEncoderLayer:
            return f"it holds a {type(layer).__name__}"
        attention: Any = layer.self_attn
        if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
            return "its attention has widths or extra keys of its own"
    return None


def unfuse_all(model: nn.Module) -> Iterator[UnfuseAttention]:
    """One edit for each `nn.TransformerEncoder` that can be unfused, the model itself excepted."""
    for name, module in list(model.named_modules()):
        if name and type(module) is nn.TransformerEncoder and unwilling(module) is None:
            yield UnfuseAttention(name)
