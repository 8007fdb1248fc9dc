"""Integer weights, and quantizers on the inputs and outputs of modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.quantized import QuantizedConv2d, QuantizedLinear, Side, attach_quantizer, has_quantizer
from paring.graph.sites import replace, submodule
from paring.graph.state import named_tensors


@final
@dataclass(frozen=True)
class QuantizeWeight(Edit):
    """Stores the weight of a Linear or Conv2d as integers in quant_min..quant_max, one scale an output channel.

    A pruning mask is dropped: its zeros are integers 0. The range is recorded, because the machine that replays the
    edit may not be the one that chose it.
    """

    layer: str
    num_bits: int
    quant_min: int
    quant_max: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer, another dtype, or a range that `num_bits` cannot hold."""
        layer = submodule(model, self.layer)
        if not -(2 ** (self.num_bits - 1)) <= self.quant_min < self.quant_max < 2 ** (self.num_bits - 1):
            raise LayerError(f"{self.layer}: {self.quant_min}..{self.quant_max} does not fit in {self.num_bits} bits.")
        if has_quantizer(layer):
            raise LayerError(f"{self.layer}: quantize the weight before the input or output of a layer.")
        new: nn.Module
        if type(layer) is nn.Linear:
            new = QuantizedLinear(layer, self.num_bits, self.quant_min, self.quant_max)
        elif type(layer) is nn.Conv2d:
            new = QuantizedConv2d(layer, self.num_bits, self.quant_min, self.quant_max)
        else:
            raise LayerError(f"{self.layer}: QuantizeWeight treats Linear and Conv2d, not {type(layer).__name__}.")
        if layer.weight.dtype != torch.float32:
            raise LayerError(f"{self.layer}: the weight is {layer.weight.dtype}; quantize float32 weights, cast later.")
        return replace(model, self.layer, new)


@final
@dataclass(frozen=True)
class QuantizeInput(Edit):
    """Rounds what enters a module (its first float argument) to uint8 and back. Any module: a layer or a block."""

    layer: str

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError if the input is quantized already."""
        return _attached(model, self.layer, "input")


@final
@dataclass(frozen=True)
class QuantizeOutput(Edit):
    """Rounds what leaves a module (its first float answer) to uint8 and back. Any module: a layer or a block."""

    layer: str

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError if the output is quantized already."""
        return _attached(model, self.layer, "output")


def _attached(model: nn.Module, layer: str, side: Side) -> nn.Module:
    device = next((tensor.device for _, tensor in named_tensors(model)), torch.device("cpu"))
    try:
        attach_quantizer(submodule(model, layer), side, device)
    except LayerError as error:
        raise LayerError(f"{layer}: {error}.") from error
    return model
