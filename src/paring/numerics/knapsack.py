"""One option a group, the least total loss within several budgets: exact, with a bound and the price of each budget.

Shapes: G groups, group g with O_g options, C costs (milliseconds, bytes). A multiple-choice knapsack:
`min sum s x` with one option a group and `sum t x <= T` for every cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.errors import BudgetError, ShapeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """`chosen[g]` is the option of group g; `loss` their sum, `costs_C` what they cost.

    No choice within the budgets can lose less than `bound`; `gap` is `(loss - bound) / loss`. `prices_C[c]` is by how
    much the loss falls for one more unit of budget c, at the margin.
    """

    chosen: tuple[int, ...]
    loss: float
    costs_C: Floats
    bound: float
    prices_C: Floats

    @property
    def gap(self) -> float:
        """The share of the loss that a better choice could at most save; 0 is proved optimal."""
        return max(0.0, self.loss - self.bound) / self.loss if self.loss > 0 else 0.0


def undominated(loss_O: Floats, costs_OC: Floats) -> list[int]:
    """Options that no other beats or equals in loss and in every cost, in their order; of equals the first stays.

    Example: losses (0, 1, 2), costs ((3,), (2,), (2,)) -> [0, 1].
    """
    rows = np.column_stack([loss_O, costs_OC])
    kept = []
    for place, row in enumerate(rows):
        no_worse = (rows <= row).all(1)
        better = no_worse & ((rows < row).any(1) | (np.arange(len(rows)) < place))
        if not better.any():
            kept.append(place)
    return kept


def lagrangian(losses: Sequence[Floats], costs: Sequence[Floats], limits_C: Floats, prices_C: Floats) -> float:
    """A lower bound on the loss of every choice within the limits, for any prices (C,) of at least 0.

    `sum_g min_o (s + price . t) - price . T`. The best prices are the dual solution of the linear relaxation.
    """
    reach = sum(float((loss_O + costs_OC @ prices_C).min()) for loss_O, costs_OC in zip(losses, costs, strict=True))
    return reach - float(prices_C @ limits_C)


def solve(losses: Sequence[Floats], costs: Sequence[Floats], limits_C: Floats) -> Solution:
    """The choice of least loss within the limits.

    Args:
        losses: per group (O_g,).
        costs: per group (O_g, C).
        limits_C: (C,); `inf` for a cost that is free.
    Raises: ShapeError for shapes that do not fit; BudgetError if even the cheapest options exceed a limit.
    Reference: Kellerer, Pferschy & Pisinger 2004, Knapsack Problems, chapter 11; solver HiGHS.
    Example: losses [(0, 1)], costs [((2,), (1,))], limits (1,) -> chosen (1,), loss 1.
    """
    _check(losses, costs, limits_C)
    free = np.isinf(limits_C)
    keep = [undominated(loss_O, costs_OC[:, ~free]) for loss_O, costs_OC in zip(losses, costs, strict=True)]
    thin_losses = [loss_O[rows] for loss_O, rows in zip(losses, keep, strict=True)]
    thin_costs = [costs_OC[rows][:, ~free] for costs_OC, rows in zip(costs, keep, strict=True)]
    picked, proved, prices = _exact(thin_losses, thin_costs, limits_C[~free])
    prices_C = np.zeros(len(limits_C))
    prices_C[~free] = prices
    chosen = tuple(rows[one] for rows, one in zip(keep, picked, strict=True))
    bound = max(proved, lagrangian(thin_losses, thin_costs, limits_C[~free], prices))
    loss = float(sum(loss_O[one] for loss_O, one in zip(losses, chosen, strict=True)))
    total_C = np.sum([costs_OC[one] for costs_OC, one in zip(costs, chosen, strict=True)], axis=0)
    return Solution(chosen, loss, total_C, min(bound, loss), prices_C)


def _check(losses: Sequence[Floats], costs: Sequence[Floats], limits_C: Floats) -> None:
    if len(losses) != len(costs) or not losses:
        raise ShapeError(f"knapsack: {len(losses)} groups of losses and {len(costs)} of costs; give the same, above 0.")
    for group, (loss_O, costs_OC) in enumerate(zip(losses, costs, strict=True)):
        if costs_OC.shape != (len(loss_O), len(limits_C)) or not len(loss_O):
            raise ShapeError(
                f"knapsack: group {group} has {loss_O.shape} losses and {costs_OC.shape} costs; "
                f"it takes (options,) and (options, {len(limits_C)})."
            )
        if not (np.isfinite(loss_O).all() and np.isfinite(costs_OC).all()):
            raise ShapeError(f"knapsack: group {group} holds NaN or infinity. Leave such options out.")
    least_C = np.sum([costs_OC.min(0) for costs_OC in costs], axis=0)
    for place, (least, limit) in enumerate(zip(least_C, limits_C, strict=True)):
        if least > limit:
            raise BudgetError(f"knapsack: cost {place} is at least {least:.4g}, and its limit is {limit:.4g}.")


def _exact(losses: list[Floats], costs: list[Floats], limits: Floats) -> tuple[list[int], float, Floats]:
    """(option of each group, proved bound, prices)."""
    from scipy.optimize import Bounds, LinearConstraint, linprog, milp
    from scipy.sparse import csr_matrix

    sizes = [len(loss_O) for loss_O in losses]
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    one_each = csr_matrix((np.ones(len(group_of)), (group_of, np.arange(len(group_of)))))
    s, t = np.concatenate(losses), np.concatenate(costs)
    scale = np.maximum(np.abs(limits), np.finfo(float).tiny)  # milliseconds and bytes differ by ten powers of ten
    scaled, ones = (t / scale).T, np.ones(len(sizes))
    prices = np.zeros(len(limits))
    constraints = [LinearConstraint(one_each, ones, ones)]
    least = float(s.max())
    if len(limits):
        relaxed = linprog(s, A_ub=scaled, b_ub=limits / scale, A_eq=one_each, b_eq=ones, bounds=(0, 1), method="highs")
        if relaxed.status == 0:
            prices = np.maximum(0.0, -relaxed.ineqlin.marginals) / scale
            least = max(float(relaxed.fun), 1e-6 * float(s.max()))
        constraints.append(LinearConstraint(scaled, -np.inf, limits / scale))
    unit = least if least > 0 else 1.0  # HiGHS stops within 1e-6 of the optimum: losses are told in units of theirs
    found = milp(
        s / unit,
        constraints=constraints,
        bounds=Bounds(0, 1),
        integrality=np.ones(len(s)),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise BudgetError("knapsack: no choice stays within all limits together. Raise one of them.")
    edges = np.cumsum([0, *sizes])
    picked = [int(found.x[low:high].argmax()) for low, high in itertools.pairwise(edges)]
    proved = found.mip_dual_bound * unit if found.mip_dual_bound is not None else -np.inf
    return picked, float(proved), prices
