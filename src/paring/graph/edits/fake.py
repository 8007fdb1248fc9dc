"""Fake quantizers for training, and the stored integers they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final, get_args

from torch import nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.fake import FakeQuantizedConv2d, FakeQuantizedLayer, FakeQuantizedLinear, Scheme, fake_quantized
from paring.graph.quantized import QuantizedConv2d, QuantizedLinear
from paring.graph.sites import replace, submodule
from paring.graph.weight_only import WeightOnlyConv2d, WeightOnlyLinear


@final
@dataclass(frozen=True)
class FakeQuantize(Edit):
    """Makes a Linear or Conv2d compute with rounded weights, and with `inputs` a rounded input, while it learns."""

    layer: str
    scheme: Scheme
    quant_max: int
    inputs: bool

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer or an unknown scheme."""
        layer = submodule(model, self.layer)
        if type(layer) not in (nn.Linear, nn.Conv2d):
            raise LayerError(f"{self.layer}: FakeQuantize treats Linear and Conv2d, not {type(layer).__name__}.")
        if self.scheme not in get_args(Scheme):
            raise LayerError(f"{self.layer}: no scheme {self.scheme}; it is one of {', '.join(get_args(Scheme))}.")
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        return replace(model, self.layer, fake_quantized(layer, self.scheme, self.quant_max, self.inputs))


@final
@dataclass(frozen=True)
class Freeze(Edit):
    """Turns a layer under FakeQuantize into stored integers: per channel, `num_bits` each.

    A layer with a rounded input becomes one that engines run in integers once QuantizeInput follows; one without
    becomes weight-only.
    """

    layer: str
    num_bits: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for a layer that is not under FakeQuantize."""
        layer = submodule(model, self.layer)
        if not isinstance(layer, FakeQuantizedLayer):
            raise LayerError(f"{self.layer}: Freeze treats layers under FakeQuantize, not {type(layer).__name__}.")
        limits = (self.num_bits, -layer.quant_max, layer.quant_max)
        new: nn.Module
        if isinstance(layer, FakeQuantizedLinear):
            new = (
                QuantizedLinear(layer, *limits) if layer.inputs else WeightOnlyLinear(layer, self.num_bits, None, True)
            )
        else:
            assert isinstance(layer, FakeQuantizedConv2d)
            new = (
                QuantizedConv2d(layer, *limits) if layer.inputs else WeightOnlyConv2d(layer, self.num_bits, None, True)
            )
        return replace(model, self.layer, new)
