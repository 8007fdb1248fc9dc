"""What a weight or a channel is worth, and which ones an exact sparsity removes.

Legend: U units of a channel group, N weights of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["layer", "global"]
Norm = Literal["l1", "l2"]


def magnitude(W: Tensor) -> Tensor:
    """|W|, same shape, float32 at least: the damage of removing a weight where nothing else is known.

    Reference: Han et al. 2015, arXiv:1506.02626.
    """
    return W.detach().abs().to(torch.promote_types(W.dtype, torch.float32))


def channel_norms(W: Tensor, dim: int, indices: Sequence[Sequence[int]], norm: Norm) -> Tensor:
    """L1 or L2 norm of what each unit holds of `W`, (U,), float64.

    Args:
        W: any tensor.
        dim: the dimension along which the units lie.
        indices: for each unit, its indices along `dim`; none gives 0.
    Reference: Li et al. 2017, arXiv:1608.08710 (L1 norm of a filter).
    Example: W (8, 3, 5, 5), dim 0, indices ((0,), (1,), ...) -> (8,).
    """
    power = {"l1": 1, "l2": 2}[norm]
    entries = W.detach().double().abs().pow(power).movedim(dim, 0).reshape(W.shape[dim], -1).sum(dim=1)
    unit = torch.tensor([u for u, own in enumerate(indices) for _ in own], dtype=torch.long, device=W.device)
    flat = torch.tensor([i for own in indices for i in own], dtype=torch.long, device=W.device)
    sums_U = torch.zeros(len(indices), dtype=torch.float64, device=W.device).index_add_(0, unit, entries[flat])
    return sums_U.pow(1 / power)


def group_importance(norms: Sequence[Tensor]) -> Tensor:
    """Mean over a group's tensors of their channel norms, each relative to its own mean, (U,).

    Relative norms keep a wide layer from outvoting a narrow one coupled with it, and make groups comparable.
    Reference: Fang et al. 2023 (DepGraph), arXiv:2301.12900, section 3.3.
    """
    relative = [norm_U / norm_U.mean().clamp_min(torch.finfo(norm_U.dtype).tiny) for norm_U in norms]
    return torch.stack(relative).mean(dim=0)


def count_of(fraction: float, total: int) -> int:
    """`fraction` of `total`, to the nearest whole number, halves upwards."""
    return int(fraction * total + 0.5)


def lowest(scores: Tensor, count: int) -> Tensor:
    """True at exactly `count` entries, those of the lowest scores; of equal ones the first go. Same shape."""
    order = torch.sort(scores.flatten(), stable=True).indices
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    chosen[order[:count]] = True
    return chosen.reshape(scores.shape)


def sparsity_masks(scores: Sequence[Tensor], sparsity: float, scope: Scope) -> list[Tensor]:
    """For each layer a mask of its scores' shape, True where a weight stays; the sparsity is hit exactly.

    `scope` "layer" counts within each layer, "global" over all together. A negative score marks a weight that is gone
    already: it stays gone, even beyond the sparsity asked for.
    Raises: nothing; an empty sequence gives an empty list.
    """
    if scope == "layer":
        return [~lowest(score, _count(score, sparsity)) for score in scores]
    if not scores:
        return []
    flat = torch.cat([score.flatten() for score in scores])
    keep = ~lowest(flat, _count(flat, sparsity))
    parts = torch.split(keep, [score.numel() for score in scores])
    return [part.reshape(score.shape) for part, score in zip(parts, scores, strict=True)]


def _count(scores: Tensor, sparsity: float) -> int:
    return max(count_of(sparsity, scores.numel()), int((scores < 0).sum()))
