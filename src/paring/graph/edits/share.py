"""Weights that share values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.edits.mask import MASK
from paring.graph.shared import Codebook, EvenGrid, SharedConv2d, SharedLayer, SharedLinear, Values
from paring.graph.sites import replace, submodule


@final
@dataclass(frozen=True)
class Codes:
    """A codebook of `num_values`, of which number `origin` is coded 0; with `zero` that one is and stays zero."""

    num_values: int
    origin: int
    zero: bool


@final
@dataclass(frozen=True)
class Steps:
    """An even grid of one step, or of one for each input (`columns`) or output (`rows`)."""

    columns: bool = False
    rows: bool = False


@final
@dataclass(frozen=True)
class ShareWeight(Edit):
    """Makes the weight of a Linear or Conv2d, and with `bias` its bias, point into shared values.

    The layer computes as before with the weight that its codes stand for. A mask ends here: a removed weight has code
    0. The bias, where there is one, is on a grid or in a codebook of its own, or stays as it is.
    """

    layer: str
    weight: Codes | Steps
    bias: Codes | Steps | None = None

    def to_json(self) -> dict[str, object]:
        """See `Edit.to_json`; the two forms as mappings."""
        plain = super().to_json()
        return plain | {name: None if plain[name] is None else vars(plain[name]) for name in ("weight", "bias")}

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer, or for float16 weights."""
        layer = submodule(model, self.layer)
        if type(layer) not in (nn.Linear, nn.Conv2d):
            raise LayerError(f"{self.layer}: ShareWeight treats Linear and Conv2d, not {type(layer).__name__}.")
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        if layer.weight.dtype != torch.float32:
            raise LayerError(f"{self.layer}: the weight is {layer.weight.dtype}; share float32 weights, cast later.")
        layer._buffers.pop(MASK, None)
        shared = _values(self.weight, layer.weight)
        bias = None if self.bias is None or layer.bias is None else _values(self.bias, layer.bias)
        new = SharedLinear(layer, shared, bias) if isinstance(layer, nn.Linear) else SharedConv2d(layer, shared, bias)
        return replace(model, self.layer, new)


def _values(form: Codes | Steps, like: Tensor) -> Values:
    if isinstance(form, Steps):
        return EvenGrid(like.shape, like, columns=form.columns, rows=form.rows)
    return Codebook(like.shape, form.num_values, form.origin, form.zero, like)


def shared_layer(model: nn.Module, name: str) -> SharedLayer:
    """The layer under ShareWeight."""
    layer = submodule(model, name)
    assert isinstance(layer, SharedLayer)
    return layer
