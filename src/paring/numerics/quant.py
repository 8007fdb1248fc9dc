"""Integers for weights and activations: scales, rounding and observed ranges. Tensors in, tensors and numbers out.

Shapes: W (O, ...) a weight with the output channel first; scale_O one scale a channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from paring.errors import LayerError

ACTIVATION_MAX = 255
INT32_MAX = 2**31 - 1
BIAS_MAX = 2**30  # half of what int32 holds, so that the sum of products still fits beside it
TINY = 2.0**-60  # keeps scales, their products and their inverses normal float32 numbers


@final
@dataclass(frozen=True)
class Range:
    """Smallest and largest value seen. `Range()` has seen nothing: the neutral element of `merge`."""

    low: float = math.inf
    high: float = -math.inf

    @property
    def is_empty(self) -> bool:
        """Whether no value was seen."""
        return self.low > self.high

    def merge(self, other: Range) -> Range:
        """The range of both together."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def observe(x: Tensor) -> Range:
    """The range of `x`, any shape; `Range()` if it is empty. Raises LayerError for NaN or infinity."""
    if x.numel() == 0:
        return Range()
    low, high = (float(value) for value in torch.aminmax(x.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise LayerError("it holds NaN or infinity")
    return Range(low, high)


def activation_scale(seen: Range) -> tuple[float, int]:
    """(scale, zero_point) of affine uint8 over `seen`: `x ~ scale * (q - zero_point)`, q in 0..255.

    The range is widened to hold zero, which then is exact (zero padding, ReLU); an all-zero or empty range gives
    (1.0, 0). `scale` is a float32 number. Raises: LayerError for NaN or infinity.
    Reference: Jacob et al. 2018, arXiv:1712.05877, eq. 1.
    Example: Range(-1.0, 1.55) -> (0.01, 100); Range(0.0, 2.55) -> (0.01, 0).
    """
    if math.isnan(seen.low) or math.isnan(seen.high) or (not seen.is_empty and math.isinf(seen.high - seen.low)):
        raise LayerError("its range holds NaN or infinity")
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if low == high:
        return 1.0, 0
    scale = float(torch.tensor(max((high - low) / ACTIVATION_MAX, TINY), dtype=torch.float32))
    return scale, min(ACTIVATION_MAX, max(0, round(-low / scale)))


def symmetric_scale(seen: Range, *, signed: bool, quant_max: int = 127) -> tuple[float, int]:
    """(scale, zero_point) with zero in the middle: int8 with zero point 0 if `signed`, else uint8.

    uint8 has zero point 0 where nothing negative was seen and 128 otherwise. `quant_max` is the largest integer that
    the larger side of the range is given; int8 behind a kernel that saturates takes 64.
    Raises: LayerError for NaN or infinity.
    Example: Range(-1.0, 2.54), signed -> (0.02, 0); not signed -> (0.02, 128).
    """
    if seen.low >= 0 and not signed:
        return activation_scale(seen)
    activation_scale(seen)  # the checks
    peak = 0.0 if seen.is_empty else max(-seen.low, seen.high, 0.0)
    zero_point = 0 if signed else 128
    if peak == 0:
        return 1.0, zero_point
    return float(torch.tensor(max(peak / quant_max, TINY), dtype=torch.float32)), zero_point


def weight_scale(W: Tensor, quant_max: int, *, per_channel: bool = True) -> Tensor:
    """Smallest symmetric scale a channel that clips no weight, (O,), dtype of W; 1 for an all-zero channel.

    Without `per_channel` every channel gets the largest of them: one scale for the tensor.

    Raises: LayerError for NaN or infinity.
    Reference: Jacob et al. 2018, arXiv:1712.05877, with zero_point = 0.
    Example: W (8, 64), quant_max 127 -> scale (8,).
    """
    peak_O = W.detach().flatten(1).abs().amax(1) if W.numel() else W.new_zeros(len(W))
    if not torch.isfinite(peak_O).all():
        raise LayerError("the weight holds NaN or infinity")
    if not per_channel and len(peak_O):
        peak_O = peak_O.amax().expand_as(peak_O)
    return torch.where(peak_O == 0, torch.ones_like(peak_O), (peak_O / quant_max).clamp_min(TINY))


def scale_for_bias(W: Tensor, scale_O: Tensor, bias_O: Tensor | None, input_scale: float) -> Tensor:
    """`scale_O` raised where the bias, in int32 steps of `input_scale * scale`, would pass 2**30; (O,).

    Only channels whose weights are near zero beside their bias are touched. An all-zero channel, whose scale is free,
    takes the finest one its bias fits, so that rounding the bias costs nothing.
    """
    if bias_O is None:
        return scale_O
    floor_O = bias_O.detach().abs() / (input_scale * BIAS_MAX)
    is_zero_O = W.detach().flatten(1).abs().amax(1) == 0
    finest_O = torch.where(floor_O > TINY, floor_O, scale_O)
    return torch.where(is_zero_O, finest_O, torch.maximum(scale_O, floor_O))


def round_weight(W: Tensor, scale_O: Tensor, quant_min: int, quant_max: int) -> Tensor:
    """Nearest integers of `W / scale`, clipped to quant_min..quant_max, int8, shape of W; ties to even."""
    return torch.round(W.detach() / spread(scale_O, W)).clamp(quant_min, quant_max).to(torch.int8)


def round_bias(bias_O: Tensor, step_O: Tensor) -> Tensor:
    """Nearest int32 multiples of `step_O` (input scale times weight scale), (O,)."""
    return torch.round(bias_O.detach().double() / step_O.double()).clamp(-INT32_MAX, INT32_MAX).to(torch.int32)


def spread(scale_O: Tensor, like: Tensor) -> Tensor:
    """`scale_O` shaped (O, 1, ...) to multiply `like` (O, ...)."""
    return scale_O.reshape(-1, *[1] * (like.dim() - 1))
