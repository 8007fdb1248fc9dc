"""What a weight or a channel is worth, and which ones an exact sparsity removes.

Legend: U units of a channel group, N weights of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from paring.errors import SettingError, ShapeError

Scope = Literal["layer", "global"]
Norm = Literal["l1", "l2"]


def magnitude(W: Tensor) -> Tensor:
    """|W|, same shape, float32 at least: the damage of removing a weight where nothing else is known.

    Reference: Han et al. 2015, arXiv:1506.02626.
    """
    return W.detach().abs().to(torch.promote_types(W.dtype, torch.float32))


def saliency(W: Tensor, second: Tensor) -> Tensor:
    """`h w^2 / 2`, same shape, float64: what the loss rises by when the weight goes and the others stay.

    Args:
        second: the loss's second derivative for each weight, shape of W.
    Reference: LeCun, Denker & Solla 1989 (optimal brain damage), equation 4.
    """
    return second.double() * W.detach().double() ** 2 / 2


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


@dataclass(frozen=True)
class NM:
    """At most `n` of every `m` consecutive inputs of an output stay: `NM(2, 4)` is the 2:4 pattern."""

    name: ClassVar[str] = "nm"

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise SettingError(f"pattern: nm is {self.n}:{self.m}; it must keep at least 1 and fewer than all of m.")

    @property
    def sparsity(self) -> float:
        """Fraction of zeros of a layer under this pattern."""
        return 1 - self.n / self.m


def nm_mask(scores_ON: Tensor, pattern: NM, removed: int | None = None) -> Tensor:
    """True where a weight stays: exactly m - n of every m inputs go, those of the lowest scores. Same shape.

    Args:
        scores_ON: (out, ...); the inputs of an output are taken in the order of the flattened rest.
        removed: how many of every m go, m - n unless given (a pattern on its way there).
    Raises: ShapeError if the number of inputs is not a multiple of m.
    Reference: Mishra et al. 2021, arXiv:2104.08378 (2:4).
    Example: scores (8, 16, 3, 3), NM(2, 4) -> 36 groups of 4 an output, 2 of each True.
    """
    inputs = scores_ON[0].numel()
    if inputs % pattern.m:
        raise ShapeError(f"its {inputs} inputs are not a multiple of {pattern.m}")
    gone = pattern.m - pattern.n if removed is None else removed
    groups = scores_ON.reshape(-1, pattern.m)
    order = torch.sort(groups, dim=1, stable=True).indices[:, :gone]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(1, order, False).reshape(scores_ON.shape)


def row_masks(scores_ON: Tensor, sparsity: float) -> Tensor:
    """True where a weight stays, each output losing its own lowest. Same shape.

    Counts differ by one at most, but for outputs of which more are gone already (scores below 0): those lose no more.
    """
    flat = scores_ON.reshape(len(scores_ON), -1)
    gone_O = (flat < 0).sum(1)
    total = max(count_of(sparsity, flat.numel()), int(gone_O.sum()))
    level = max(share for share in range(flat.shape[1] + 1) if int(gone_O.clamp_min(share).sum()) <= total)
    counts_O = gone_O.clamp_min(level)
    growing = (gone_O <= level).nonzero().flatten()[: total - int(counts_O.sum())]
    counts_O[growing] += 1
    ranks = torch.argsort(torch.argsort(flat, dim=1, stable=True), dim=1, stable=True)
    return (ranks >= counts_O[:, None]).reshape(scores_ON.shape)


def cubic(share: float, final: float, initial: float = 0.0) -> float:
    """Sparsity at this share of the way, rising steeply first and flat at the end.

    Reference: Zhu & Gupta 2017, arXiv:1710.01878, equation 1.
    """
    return final + (initial - final) * (1 - min(max(share, 0.0), 1.0)) ** 3
