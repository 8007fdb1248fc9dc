"""Integer weights, and quantizers on the inputs and outputs of modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.operands import attach_operands
from paring.graph.quantized import (
    OPERAND_SCALE,
    QuantizedConv2d,
    QuantizedLinear,
    Side,
    attach_quantizer,
    has_quantizer,
)
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
    """Rounds what enters any module (its first float argument) to uint8 or int8 and back."""

    layer: str
    signed: bool = False

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError if the input is quantized already."""
        return _attached(model, self.layer, "input", self.signed)


@final
@dataclass(frozen=True)
class QuantizeOutput(Edit):
    """Rounds what leaves any module (its first float answer) to uint8 or int8 and back."""

    layer: str
    signed: bool = False

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError if the output is quantized already."""
        return _attached(model, self.layer, "output", self.signed)


@final
@dataclass(frozen=True)
class QuantizeOperands(Edit):
    """Rounds both sides of additions and matrix products of activations that a module's own forward computes.

    `positions` number the operations of that module as `paring.graph.operands.find_operands` counts them; an attention
    has four operands: queries, keys, probabilities, values. `signed` makes the second of each pair int8.
    """

    layer: str
    positions: tuple[int, ...]
    signed: bool = False

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError if the operands of this module are quantized already."""
        module = submodule(model, self.layer)
        if OPERAND_SCALE in module._buffers:
            raise LayerError(f"{self.layer}: its operands are quantized already.")
        attach_operands(module, self.positions, _device(model), signed=self.signed)
        return model


def _attached(model: nn.Module, layer: str, side: Side, signed: bool) -> nn.Module:
    try:
        attach_quantizer(submodule(model, layer), side, _device(model), signed=signed)
    except LayerError as error:
        raise LayerError(f"{layer}: {error}.") from error
    return model


def _device(model: nn.Module) -> torch.device:
    return next((tensor.device for _, tensor in named_tensors(model)), torch.device("cpu"))
