"""Weights of few bits beside float activations, dynamic Linears, integer embeddings, storage in half precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import nn

from paring.core.edit import Edit
from paring.errors import LayerError, ShapeError
from paring.graph.embedding import QuantizedEmbedding, QuantizedEmbeddingBag
from paring.graph.sites import replace, submodule
from paring.graph.weight_only import DynamicLinear, ScaledLinear, WeightOnlyConv2d, WeightOnlyLinear

StoredAs = Literal["fp16", "bf16"]
STORED_AS = "stored_as"


@final
@dataclass(frozen=True)
class QuantizeBlocks(Edit):
    """Stores the weight of a Linear or Conv2d in `num_bits`, one scale a channel or every `group_size` inputs.

    A pruning mask is dropped: its zeros are exact in every grid.
    """

    layer: str
    num_bits: int
    group_size: int | None = None
    symmetric: bool = True

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer or dtype, ShapeError for groups that do not divide its inputs."""
        layer = submodule(model, self.layer)
        if type(layer) not in (nn.Linear, nn.Conv2d):
            raise LayerError(f"{self.layer}: QuantizeBlocks treats Linear and Conv2d, not {type(layer).__name__}.")
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        _check_float(self.layer, layer.weight)
        num_in = layer.weight[0].numel()
        if self.group_size is not None and num_in % self.group_size:
            raise ShapeError(f"{self.layer}: its {num_in} inputs are not a multiple of group_size {self.group_size}.")
        settings = (self.num_bits, self.group_size, self.symmetric)
        new: nn.Module
        if isinstance(layer, nn.Linear):
            new = WeightOnlyLinear(layer, *settings)
        else:
            new = WeightOnlyConv2d(layer, *settings)
        return replace(model, self.layer, new)


@final
@dataclass(frozen=True)
class QuantizeDynamic(Edit):
    """Stores the weight of a Linear as int8 within -quant_max..quant_max; its input is rounded at run time."""

    layer: str
    quant_max: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer or dtype."""
        layer = submodule(model, self.layer)
        if type(layer) is not nn.Linear:
            raise LayerError(f"{self.layer}: QuantizeDynamic treats Linear, not {type(layer).__name__}.")
        _check_float(self.layer, layer.weight)
        return replace(model, self.layer, DynamicLinear(layer, self.quant_max))


@final
@dataclass(frozen=True)
class QuantizeEmbedding(Edit):
    """Stores the table of an Embedding or EmbeddingBag in 8 or 4 bits, one scale a row."""

    layer: str
    num_bits: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer or dtype."""
        layer = submodule(model, self.layer)
        new: nn.Module
        if type(layer) is nn.Embedding:
            new = QuantizedEmbedding(layer, self.num_bits)
        elif type(layer) is nn.EmbeddingBag:
            new = QuantizedEmbeddingBag(layer, self.num_bits)
        else:
            raise LayerError(f"{self.layer}: QuantizeEmbedding treats embeddings, not {type(layer).__name__}.")
        _check_float(self.layer, layer.weight)
        return replace(model, self.layer, new)


@final
@dataclass(frozen=True)
class Cast(Edit):
    """Marks a layer whose float weights hold half-precision values, so that the file stores them in two bytes."""

    layer: str
    dtype: StoredAs

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for an unknown dtype."""
        if self.dtype not in get_args(StoredAs):
            raise LayerError(f"{self.layer}: cannot store {self.dtype}; use one of {', '.join(get_args(StoredAs))}.")
        setattr(submodule(model, self.layer), STORED_AS, self.dtype)
        return model


@final
@dataclass(frozen=True)
class AddBias(Edit):
    """Gives a layer without a bias one of zeros."""

    layer: str

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for another kind of layer, or one that has a bias."""
        layer = submodule(model, self.layer)
        if not isinstance(layer, nn.Linear | nn.Conv2d) or layer.bias is not None:
            raise LayerError(f"{self.layer}: AddBias treats a Linear or Conv2d without a bias.")
        weight = layer.weight
        layer.bias = nn.Parameter(weight.new_zeros(len(weight)), weight.requires_grad)
        return model


@final
@dataclass(frozen=True)
class ScaleInput(Edit):
    """Puts a multiplication of every input feature before a Linear, which then is child 1 of a ScaledLinear."""

    layer: str

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for anything but a Linear."""
        layer = submodule(model, self.layer)
        if type(layer) is not nn.Linear:
            raise LayerError(f"{self.layer}: ScaleInput treats Linear, not {type(layer).__name__}.")
        return replace(model, self.layer, ScaledLinear(layer).train(layer.training))


def _check_float(name: str, weight: torch.Tensor) -> None:
    if weight.dtype != torch.float32:
        raise LayerError(f"{name}: the weight is {weight.dtype}; quantize float32 weights, cast later.")
