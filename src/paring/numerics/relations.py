"""How like the inner answers of two nets are, where their widths may differ.

Shapes: B examples, C channels, P positions, H heads, R relation heads, D channels of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def relative_error(guess_NC: Tensor, wanted_NC: Tensor, mean_square: float) -> Tensor:
    """Mean squared error over `mean_square`, the mean square of what is wanted, (): 1 is what a guess of zeros has."""
    return F.mse_loss(guess_NC, wanted_NC) / max(mean_square, torch.finfo(torch.float32).tiny)


def attention_gap(student_BCP: Tensor, teacher_BCP: Tensor, keep_BP: Tensor | None = None) -> Tensor:
    """Mean squared distance, (), of normalised maps `sum over channels of A^2`; channels may differ in number.

    Positions that `keep_BP` marks False count as 0. Reference: Zagoruyko & Komodakis 2017, arXiv:1612.03928, eq. 2.
    """
    maps = []
    for tensor in (student_BCP, teacher_BCP):
        map_BP = tensor.square().mean(1)
        maps.append(F.normalize(map_BP if keep_BP is None else map_BP * keep_BP, dim=-1))
    return (maps[0] - maps[1]).square().sum(-1).mean()


def distance_gap(student_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """Huber loss, (), between the pairwise distances of examples, each divided by its mean.

    Reference: Park et al. 2019, arXiv:1904.05068, equations 4 to 6.
    """
    return F.smooth_l1_loss(_distances(student_BC), _distances(teacher_BC))


def angle_gap(student_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """Huber loss, (), between the cosines at which each example sees each two others (Park et al. 2019, eq. 7 to 9)."""
    return F.smooth_l1_loss(_cosines(student_BC), _cosines(teacher_BC))


def _distances(x_BC: Tensor) -> Tensor:
    gap = x_BC[:, None] - x_BC[None]
    # The square root has no slope at 0, where each example meets itself.
    distance = gap.square().sum(-1).clamp_min(1e-12).sqrt()
    others = ~torch.eye(len(x_BC), dtype=torch.bool, device=x_BC.device)
    distance = torch.where(others, distance, torch.zeros_like(distance))
    mean = distance[others].mean() if len(x_BC) > 1 else distance.sum() + 1
    return distance / mean.clamp_min(1e-12)


def _cosines(x_BC: Tensor) -> Tensor:
    towards = F.normalize(x_BC[None] - x_BC[:, None], dim=-1)
    return torch.bmm(towards, towards.transpose(1, 2))


def relation_gap(student_BPC: Tensor, teacher_BPC: Tensor, num_relations: int, keep_BP: Tensor | None = None) -> Tensor:
    """KL divergence, (), between self-relations `softmax(X X^T / sqrt(D))`, split into `num_relations` heads.

    X are all heads' queries, keys or values, (b, t, C); C may differ between the two, and need only be a multiple of
    `num_relations`. Mean over examples, heads and the positions `keep_BP` marks.
    Reference: Wang et al. 2021 (MiniLMv2), arXiv:2012.15828, equations 5 to 7.
    """
    student, teacher = (_relations(x, num_relations, keep_BP) for x in (student_BPC, teacher_BPC))
    gap_BRP = (teacher.exp() * (teacher - student).nan_to_num(0.0, 0.0, 0.0)).sum(-1)
    if keep_BP is None:
        return gap_BRP.mean()
    kept = keep_BP[:, None].to(gap_BRP.dtype)
    return (gap_BRP * kept).sum() / (kept.sum() * num_relations).clamp_min(1)


def _relations(x_BPC: Tensor, num_relations: int, keep_BP: Tensor | None) -> Tensor:
    """Log probabilities (b, R, P, P)."""
    b, p, c = x_BPC.shape
    x_BRPD = x_BPC.reshape(b, p, num_relations, c // num_relations).transpose(1, 2)
    scores: Tensor = x_BRPD @ x_BRPD.transpose(-1, -2) / (c // num_relations) ** 0.5
    if keep_BP is not None:
        scores = scores.masked_fill(~keep_BP[:, None, None, :], torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)
