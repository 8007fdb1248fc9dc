"""Layers whose weight is stored in few bits and multiplied as floats, and Linears that round what enters as it comes.

Legend: O out, I in (for a convolution all of its kernel's inputs), G groups of inputs.
"""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.graph import dialect as dialect
from paring.numerics.grid import Grid

P: Any = torch.ops.paring
PACKED_BITS = 4  # ONNX has INT4 and nothing between it and INT8 that both engines read: 2 and 3 bits ship as 4


class WeightOnlyLayer(nn.Module):
    """A layer that keeps `weight_q` (O, I) int8 with `weight_scale` (O, G) and maybe `weight_zero_point` (O, G).

    `freeze` turns them into what the file holds: Linears transposed, as both engines want them.
    """

    weight_q: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.Linear | nn.Conv2d, num_bits: int, group_size: int | None, symmetric: bool) -> None:
        super().__init__()
        weight_OI = layer.weight.detach().flatten(1)
        num_groups = 1 if group_size is None else weight_OI.shape[1] // group_size
        self.num_bits, self.group_size, self.symmetric = num_bits, group_size, symmetric
        self.register_buffer("weight_q", torch.zeros_like(weight_OI, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones_like(weight_OI[:, :num_groups]).contiguous())
        zero_point = None if symmetric else torch.zeros_like(self.weight_scale, dtype=torch.int8)
        self.register_buffer("weight_zero_point", zero_point)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.kernel_shape = tuple(layer.weight.shape)
        self.frozen = ""
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The weight that the integers stand for, float, shaped as the layer's."""
        limits = 2 ** (self.num_bits - 1)
        grid = Grid(self.weight_scale, self.weight_zero_point, -limits, limits - 1)
        return grid.values(self.weight_q).reshape(self.kernel_shape)

    @torch.no_grad()
    def set_(self, q_OI: Tensor, grid: Grid, bias: Tensor | None) -> None:
        """Puts numbers in: q_OI (O, I) int8 on `grid`."""
        assert -(2 ** (self.num_bits - 1)) <= int(q_OI.min()) <= int(q_OI.max()) < 2 ** (self.num_bits - 1)
        self.weight_q.copy_(q_OI)
        self.weight_scale.copy_(grid.scale_OG)
        if self.weight_zero_point is not None and grid.zero_point_OG is not None:
            self.weight_zero_point.copy_(grid.zero_point_OG)
        if self.bias is not None and bias is not None:
            self.bias.copy_(bias)

    def freeze(self) -> None:
        """Lays the integers out for the file. Names that start with `packed` become INT4 there."""
        self.frozen = "packed" if self.num_bits <= PACKED_BITS else "stored"
        transposed = isinstance(self, WeightOnlyLinear)
        per_channel = self.group_size is None
        self.axis = (1 if per_channel else 0) if transposed else (0 if per_channel else 1)
        whole = not transposed and per_channel
        for name in ("weight_q", "weight_scale", "weight_zero_point"):
            part = cast(Tensor | None, getattr(self, name))
            delattr(self, name)
            if part is None:
                continue
            if name == "weight_q":
                part = part.reshape(self.kernel_shape) if whole else part.T.contiguous() if transposed else part
            else:
                part = part[:, 0] if per_channel else part.T if transposed else part
            kind = "scale" if name == "weight_scale" else f"{self.frozen}_{name}"
            self.register_buffer(kind, part.contiguous())

    def _stored(self) -> Tensor:
        """The weight as the frozen layer's file holds it: (I, O) for a Linear, the kernel's shape for a convolution."""
        q = self.get_buffer(f"{self.frozen}_weight_q")
        zero_point = self._buffers.get(f"{self.frozen}_weight_zero_point")
        scale = self.get_buffer("scale")
        return cast(Tensor, P.dequantize_blocks(q, scale, zero_point, self.axis, self.group_size or 0))

    def extra_repr(self) -> str:
        granularity = "per channel" if self.group_size is None else f"groups of {self.group_size}"
        return f"{', '.join(map(str, self.kernel_shape))}, num_bits={self.num_bits}, {granularity}"


@final
class WeightOnlyLinear(WeightOnlyLayer):
    """`nn.Linear` with a weight of few bits."""

    def __init__(self, layer: nn.Linear, num_bits: int, group_size: int | None, symmetric: bool) -> None:
        super().__init__(layer, num_bits, group_size, symmetric)
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def freeze(self) -> None:
        """As every layer's, with a bias to subtract as well."""
        super().freeze()
        if self.bias is not None:
            self.register_buffer("minus_bias", -self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if not self.frozen:
            return functional.linear(x, self.weight, self.bias)
        # MatMul, not Gemm: only for MatMul does ONNX Runtime have a kernel that reads the integers. Of two dimensions
        # and an Add it makes a Gemm first, and with an activation behind it unpacks the weight at every call.
        y = torch.matmul(x, self._stored())
        if self.bias is None:
            return y
        return y - self.get_buffer("minus_bias") if x.dim() == 2 else y + self.bias


@final
class WeightOnlyConv2d(WeightOnlyLayer):
    """`nn.Conv2d` with a weight of few bits."""

    def __init__(self, layer: nn.Conv2d, num_bits: int, group_size: int | None, symmetric: bool) -> None:
        super().__init__(layer, num_bits, group_size, symmetric)
        self.in_channels, self.out_channels, self.kernel_size = layer.in_channels, layer.out_channels, layer.kernel_size
        self.groups, self.padding_mode = layer.groups, layer.padding_mode
        self.stride: Any = layer.stride
        self.padding: Any = layer.padding
        self.dilation: Any = layer.dilation
        self.border = tuple(layer._reversed_padding_repeated_twice)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = functional.pad(x, self.border, mode=self.padding_mode), 0
        weight = self._stored().reshape(self.kernel_shape) if self.frozen else self.weight
        return functional.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


@final
class DynamicLinear(nn.Module):
    """`nn.Linear` with int8 weights, one scale a channel, whose input is rounded to uint8 as it comes."""

    weight_q: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, quant_max: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.quant_max = layer.in_features, layer.out_features, quant_max
        self.register_buffer("weight_q", torch.zeros_like(layer.weight.detach(), dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones_like(layer.weight.detach()[:, 0]).contiguous())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.frozen = False
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The weight that the integers stand for, float."""
        return self.weight_q.to(self.weight_scale.dtype) * self.weight_scale[:, None]

    @torch.no_grad()
    def set_(self, weight_q: Tensor, weight_scale: Tensor) -> None:
        """Puts numbers in: weight_q (O, I) int8, weight_scale (O,)."""
        assert int(weight_q.abs().max()) <= self.quant_max
        self.weight_q.copy_(weight_q)
        self.weight_scale.copy_(weight_scale)

    def freeze(self) -> None:
        """Lays the weight out as (I, O), as the file holds it."""
        self.weight_q = self.weight_q.T.contiguous()
        self.frozen = True

    def forward(self, x: Tensor) -> Tensor:
        q_IO = self.weight_q if self.frozen else self.weight_q.T
        y = cast(Tensor, P.dynamic_linear(x, q_IO, self.weight_scale))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


@final
class Multiplier(nn.Module):
    """Multiplies feature by feature."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones_like(like.detach()).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("factor")


@final
class ScaledLinear(nn.Sequential):
    """`x -> Linear(x * factor)`: child 0 multiplies, child 1 is the Linear, so that whatever comes later finds it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(Multiplier(layer.weight[0]), layer)
        self.in_features, self.out_features = layer.in_features, layer.out_features
