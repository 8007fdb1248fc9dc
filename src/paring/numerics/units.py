"""What the units of a layer are worth, and which of them say the same. Legend: U units, N values of each, K kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def median_distances(rows_UN: Tensor) -> Tensor:
    """Sum of each unit's distances to all others, (units,), float64: least at the geometric median.

    Reference: He et al. 2019 (filter pruning via geometric median), arXiv:1811.00250, equation 7.
    Example: rows (16, 27), one row a filter -> (16,).
    """
    wide = rows_UN.detach().double()
    return torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


def correlations(covariance_UU: Tensor) -> Tensor:
    """|correlation| of every pair, (units, units), 0 on the diagonal; a unit that never varies correlates fully."""
    spread_U = covariance_UU.diagonal().clamp_min(0).sqrt()
    still_U = spread_U <= 1e-12 * spread_U.max().clamp_min(1e-300)
    bounds = torch.outer(spread_U, spread_U)
    found = (covariance_UU / bounds.clamp_min(1e-300)).abs().clamp_max(1.0)
    found[still_U | still_U[:, None]] = 1.0
    return found.fill_diagonal_(0.0)


def redundancy_scores(covariance_UU: Tensor) -> Tensor:
    """1 - |correlation| with its nearest survivor at the moment a unit goes, (units,), float64; ascending = order.

    The most alike pair goes first: of the two the one that varies less. Survivors only count each other.
    """
    alike = correlations(covariance_UU.double())
    spread_U = covariance_UU.diagonal()
    found = torch.full((len(alike),), math.inf, dtype=torch.float64)
    highest = 0.0
    for _ in range(len(alike) - 1):
        first, second = divmod(int(alike.argmax()), len(alike))
        gone = first if spread_U[first] <= spread_U[second] else second
        highest = max(highest, 1 - float(alike[first, second]))
        found[gone] = highest
        alike[gone] = alike[:, gone] = -1.0
    return found


def stand_ins(covariance_UU: Tensor, kept: list[int]) -> tuple[Tensor, Tensor]:
    """(survivor, factor) for every unit, (units,) each: `x_u ~ factor * x_survivor`, least squares on one survivor.

    Survivors stand for themselves with factor 1; a survivor that never varies gets factor 0.
    """
    kept_K = torch.tensor(kept)
    best_U = kept_K[correlations(covariance_UU.double()).fill_diagonal_(2.0)[:, kept_K].argmax(1)]
    own_U = covariance_UU.diagonal()[best_U].double()
    shared_U = covariance_UU.gather(1, best_U[:, None])[:, 0].double()
    factor_U = torch.where(own_U > 0, shared_U / own_U.clamp_min(1e-300), 0.0)
    factor_U[kept_K] = 1.0
    return best_U, factor_U


def ridge_update(W_OI: Tensor, Cxx_II: Tensor, Cyx_OI: Tensor, damping: float) -> Tensor:
    """The weights that map x to y with least square error, (out, in), float64, damped towards `W`.

    Solves `min tr((Q Cxx - 2 Cyx) Q^T) + damping * mean(diag Cxx) * |Q - W|^2`.
    """
    H_II = Cxx_II.double().clone()
    ridge = damping * float(H_II.diagonal().mean())
    ridge = ridge if ridge > 0 else 1.0
    rest_OI = Cyx_OI.double() - W_OI.double() @ Cxx_II.double()
    while True:  # inputs that hardly vary leave rounding errors as large as the ridge
        H_II.diagonal().add_(ridge)
        root_II, failed = torch.linalg.cholesky_ex(H_II)
        if not failed:
            return W_OI.double() + torch.cholesky_solve(rest_OI.T, root_II).T
        ridge *= 10
