"""Grids of integers for weights: one scale (and zero point) a channel or a group of inputs.

Legend: O out, I in, G groups of inputs along a row. W (O, I), scale (O, G), zero_point (O, G) or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from paring.errors import LayerError, ShapeError
from paring.numerics.quant import TINY

SHRINKS = tuple(1 - step / 40 for step in range(33))  # shares of the full range tried against clipping


@final
@dataclass(frozen=True)
class Grid:
    """`w ~ scale * (q - zero_point)`, q in quant_min..quant_max; `zero_point` None means symmetric."""

    scale_OG: Tensor
    zero_point_OG: Tensor | None
    quant_min: int
    quant_max: int

    def spread(self, num_in: int) -> tuple[Tensor, Tensor]:
        """Scale and zero point of every weight, both (O, I)."""
        repeats = num_in // self.scale_OG.shape[1]
        scale_OI = self.scale_OG.repeat_interleave(repeats, 1)
        if self.zero_point_OG is None:
            return scale_OI, torch.zeros_like(scale_OI)
        return scale_OI, self.zero_point_OG.to(scale_OI.dtype).repeat_interleave(repeats, 1)

    def nearest(self, W_OI: Tensor) -> Tensor:
        """The nearest integers, (O, I) int8; ties to even."""
        scale_OI, zero_OI = self.spread(W_OI.shape[1])
        q_OI = torch.round(W_OI / scale_OI) + zero_OI
        return q_OI.clamp(self.quant_min, self.quant_max).to(torch.int8)

    def values(self, q_OI: Tensor) -> Tensor:
        """What integers stand for, (O, I), dtype of the scale."""
        scale_OI, zero_OI = self.spread(q_OI.shape[1])
        return (q_OI.to(scale_OI.dtype) - zero_OI) * scale_OI


def choose_grid(
    W_OI: Tensor,
    num_bits: int,
    *,
    group_size: int | None = None,
    symmetric: bool = True,
    clip: bool = False,
    importance_I: Tensor | None = None,
) -> Grid:
    """The grid for a weight: the smallest that clips nothing, or with `clip` the one of least squared error.

    Args:
        group_size: inputs that share a scale; None for one scale a channel.
        symmetric: zero point 0 and -max..max; else affine over the whole range of `num_bits`.
        clip: tries shares of the full range and keeps, per group, the one with the least squared error.
        importance_I: weight of each input in that error (the diagonal of the Hessian), (I,).
    Raises: ShapeError if I is no multiple of group_size; LayerError for NaN or infinity.
    Example: W (8, 64), 4 bits, group_size 16 -> scale (8, 4), integers -7..7.
    """
    num_in = W_OI.shape[1]
    if group_size is not None and num_in % group_size:
        near = next(size for size in range(min(group_size, num_in), 0, -1) if num_in % size == 0)
        raise ShapeError(
            f"its {num_in} inputs are not a multiple of group_size {group_size}. "
            f"Use PerChannel() or PerGroup({near}), or exclude it"
        )
    if not torch.isfinite(W_OI).all():
        raise LayerError("the weight holds NaN or infinity")
    quant_max: int = 2 ** (num_bits - 1) - 1
    quant_min = -quant_max if symmetric else -quant_max - 1
    W_OGS = W_OI.detach().reshape(len(W_OI), -1, group_size or max(num_in, 1))
    weight_1GS = None if importance_I is None else importance_I.to(W_OGS.dtype).reshape(1, *W_OGS.shape[1:])
    low_OG, high_OG = W_OGS.amin(2).clamp_max(0), W_OGS.amax(2).clamp_min(0)
    best, error_OG = _grid(low_OG, high_OG, symmetric, quant_min, quant_max), None
    for share in SHRINKS if clip else ():
        tried = _grid(low_OG * share, high_OG * share, symmetric, quant_min, quant_max)
        off_OGS = (tried.values(tried.nearest(W_OI)) - W_OI).reshape(W_OGS.shape) ** 2
        new_OG = (off_OGS if weight_1GS is None else off_OGS * weight_1GS).sum(2)
        if error_OG is None:
            error_OG = new_OG
            continue
        better_OG = new_OG < error_OG
        error_OG = torch.where(better_OG, new_OG, error_OG)
        zero_OG = best.zero_point_OG
        if zero_OG is not None and tried.zero_point_OG is not None:
            zero_OG = torch.where(better_OG, tried.zero_point_OG, zero_OG)
        scale_OG = torch.where(better_OG, tried.scale_OG, best.scale_OG)
        best = Grid(scale_OG, zero_OG, quant_min, quant_max)
    return best


def _grid(low_OG: Tensor, high_OG: Tensor, symmetric: bool, quant_min: int, quant_max: int) -> Grid:
    if symmetric:
        peak_OG = torch.maximum(-low_OG, high_OG)
        scale_OG = torch.where(peak_OG == 0, 1.0, (peak_OG / quant_max).clamp_min(TINY))
        return Grid(scale_OG, None, quant_min, quant_max)
    span_OG = high_OG - low_OG
    scale_OG = torch.where(span_OG == 0, 1.0, (span_OG / (quant_max - quant_min)).clamp_min(TINY))
    zero_OG = (quant_min - torch.round(low_OG / scale_OG)).clamp(quant_min, quant_max)
    return Grid(scale_OG, zero_OG.to(torch.int8), quant_min, quant_max)
