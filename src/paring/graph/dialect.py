"""Three operations that PyTorch's quantized dialect lacks, with what they compute; the exporter knows their ONNX."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("paring::dequantize_blocks", mutates_args=())
def dequantize_blocks(q: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int, group_size: int) -> Tensor:
    """`(q - zero_point) * scale`, one scale per `group_size` integers along `axis`, or per index of it where 0.

    Example: q (64, 8) int8, scale (4, 8), axis 0, group_size 16 -> (64, 8) of the scale's dtype.
    """
    if group_size == 0:
        shape = [-1 if dim == axis else 1 for dim in range(q.dim())]
        scale = scale.reshape(shape)
        zero_point = None if zero_point is None else zero_point.reshape(shape)
    else:
        scale = scale.repeat_interleave(group_size, axis)
        zero_point = None if zero_point is None else zero_point.repeat_interleave(group_size, axis)
    values = q.to(scale.dtype) if zero_point is None else q.to(scale.dtype) - zero_point.to(scale.dtype)
    return values * scale


@dequantize_blocks.register_fake
def _(q: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int, group_size: int) -> Tensor:
    return q.new_empty(q.shape, dtype=scale.dtype)


@torch.library.custom_op("paring::dynamic_linear", mutates_args=())
def dynamic_linear(x: Tensor, q_IO: Tensor, scale_O: Tensor) -> Tensor:
    """`x @ W` in integers: x (..., I) rounded to uint8 over its own range now, W = q_IO * scale_O, int8."""
    step, zero_point = range_of(x)
    x_q = (torch.round(x / step) + zero_point).clamp(0, 255) - zero_point
    return (x_q @ q_IO.to(x.dtype)) * (step * scale_O)


@dynamic_linear.register_fake
def _(x: Tensor, q_IO: Tensor, scale_O: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], q_IO.shape[1]))


def range_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """(step, zero_point) as ONNX's DynamicQuantizeLinear chooses them, both (); an all-zero x gives step 1.

    Raises: nothing; NaN stays NaN.
    """
    low, high = x.amin().clamp_max(0), x.amax().clamp_min(0)
    step = (high - low) / 255
    step = torch.where(step == 0, torch.ones_like(step), step)
    return step, torch.round(-low / step).clamp(0, 255)


@torch.library.custom_op("paring::lookup", mutates_args=())
def lookup(table: Tensor, codes: Tensor) -> Tensor:
    """`table[codes]`, negative codes counted from the end: table (K,), codes of any shape, int8 or int16."""
    return table[codes.long()]


@lookup.register_fake
def _(table: Tensor, codes: Tensor) -> Tensor:
    return table.new_empty(codes.shape)


@torch.library.custom_op("paring::grid_values", mutates_args=())
def grid_values(codes: Tensor, scale: Tensor) -> Tensor:
    """`codes * scale`: an ordinary weight, which engines fold into one when they load the file."""
    return codes.to(scale.dtype) * scale


@grid_values.register_fake
def _(codes: Tensor, scale: Tensor) -> Tensor:
    return scale.new_empty(codes.shape)
