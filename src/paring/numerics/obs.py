"""Optimal brain surgeon: which weights to remove, and what the others become, in closed form.

All minimise tr((W - Q) H (W - Q)^T), H the damped second moment of the layer's inputs.
Legend: O out, I in, R rows at a time, K kept in a row, U units, S inputs of a unit.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from paring.errors import ShapeError
from paring.numerics.cholesky import inverse_root
from paring.numerics.importance import NM, count_of, lowest, nm_mask
from paring.numerics.remembered import remembered

Order = Literal["blocks", "greedy"]
SHRINK = 0.8  # of the inputs left: then the gone ones are dropped from the matrices
CHUNK = 2**24  # doubles held at once where every row needs a matrix of its own


def damped(G_II: Tensor, damping: float) -> Tensor:
    """`G + damping * mean(diag G) * I`, (in, in), float64; an input that never varies gets 1 on its diagonal."""
    H_II = G_II.double().clone()
    diagonal = H_II.diagonal()
    ridge = damping * float(diagonal.mean())
    diagonal += ridge if ridge > 0 else 1.0
    return H_II


def inverse(H_II: Tensor) -> Tensor:
    """The inverse of a symmetric positive definite matrix, by Cholesky."""
    return torch.cholesky_inverse(torch.linalg.cholesky(H_II))


def obs_mask(
    W_OI: Tensor,
    H_II: Tensor,
    sparsity: float | NM,
    *,
    order: Order = "blocks",
    block_size: int = 128,
    gone_OI: Tensor | None = None,
) -> Tensor:
    """Which weights stay, (out, in): "blocks" sweeps the columns once, "greedy" removes one weight of a row at a time.

    Args:
        gone_OI: weights that an earlier mask removed; they stay removed.
        block_size: columns among which "blocks" ranks together.
    Raises: ShapeError if the inputs are not a multiple of the pattern's m.
    Reference: Frantar & Alistarh 2023 (SparseGPT), arXiv:2301.00774; greedy: Frantar et al. 2022 (OBC),
        arXiv:2208.11580.
    """
    if isinstance(sparsity, NM) and W_OI.shape[1] % sparsity.m:
        raise ShapeError(f"its {W_OI.shape[1]} inputs are not a multiple of {sparsity.m}")
    gone = torch.zeros_like(W_OI, dtype=torch.bool) if gone_OI is None else gone_OI
    start = W_OI.double().masked_fill(gone, 0.0)
    sweep = _blocks if order == "blocks" else _greedy
    return sweep(start, H_II, sparsity, gone, block_size)


def _blocks(W_OI: Tensor, H_II: Tensor, sparsity: float | NM, gone_OI: Tensor, block_size: int) -> Tensor:
    num_out, num_in = W_OI.shape
    U_II = inverse_root(H_II)
    keep = torch.ones_like(W_OI, dtype=torch.bool)
    step = math.ceil(block_size / sparsity.m) * sparsity.m if isinstance(sparsity, NM) else block_size
    for first in range(0, num_in, step):
        last = min(first + step, num_in)
        W1, U1 = W_OI[:, first:last], U_II[first:last, first:last]  # a view: updates stay in W
        errors = torch.zeros_like(W1)
        if not isinstance(sparsity, NM):
            scores = (W1 / U1.diagonal()) ** 2
            already = gone_OI[:, first:last]
            wanted = count_of(sparsity, last * num_out) - int((~keep[:, :first]).sum())
            count = min(max(wanted, int(already.sum())), scores.numel())
            keep[:, first:last] = ~lowest(scores.masked_fill(already, -1.0), count)
        for column in range(last - first):
            if isinstance(sparsity, NM) and column % sparsity.m == 0:
                here = slice(column, column + sparsity.m)
                scores = (W1[:, here] / U1.diagonal()[here]) ** 2
                place = slice(first + column, first + column + sparsity.m)
                keep[:, place] = nm_mask(scores.masked_fill(gone_OI[:, place], -1.0), sparsity)
            lost = torch.where(keep[:, first + column], 0.0, W1[:, column])
            errors[:, column] = lost / U1[column, column]
            W1[:, column:] -= errors[:, column : column + 1] * U1[column, column:]
        W_OI[:, last:] -= errors @ U_II[first:last, last:]
    return keep


def _greedy(W_OI: Tensor, H_II: Tensor, sparsity: float | NM, gone_OI: Tensor, block_size: int) -> Tensor:
    num_out, num_in = W_OI.shape
    total = count_of(sparsity.sparsity if isinstance(sparsity, NM) else sparsity, W_OI.numel())
    share, rest = divmod(total, num_out)
    counts = (share + (torch.arange(num_out) < rest).long()).maximum(gone_OI.sum(1).cpu())
    inverse_II = inverse(H_II)
    keep = torch.ones_like(W_OI, dtype=torch.bool)
    at_once = max(1, CHUNK // num_in**2)
    for first in range(0, num_out, at_once):
        rows = slice(first, first + at_once)
        w_RI, left = W_OI[rows].clone(), keep[rows]
        Hinv_RII = inverse_II.expand(len(w_RI), -1, -1).clone()
        here = torch.arange(len(w_RI))
        for step in range(int(counts[rows].max())):
            diagonal = Hinv_RII.diagonal(dim1=1, dim2=2)
            scores = (w_RI**2 / diagonal.clamp_min(1e-300)).masked_fill(gone_OI[rows] & left, -1.0)
            barred = ~left
            if isinstance(sparsity, NM):
                full = (~left).reshape(len(w_RI), -1, sparsity.m).sum(2) >= sparsity.m - sparsity.n
                barred = barred | full.repeat_interleave(sparsity.m, dim=1)
            worst = scores.masked_fill(barred, math.inf).argmin(1)
            active = here[step < counts[rows]]
            chosen = worst[active]
            column = Hinv_RII[active, :, chosen]
            pivot = Hinv_RII[active, chosen, chosen][:, None]
            w_RI[active] -= w_RI[active, chosen][:, None] / pivot * column
            if len(active) == len(w_RI):
                Hinv_RII.baddbmm_(column[:, :, None], (column / pivot)[:, None, :], alpha=-1)
            else:
                Hinv_RII[active] -= column[:, :, None] * (column / pivot)[:, None, :]
            left[active, chosen] = False
    return keep


def refit(W_OI: Tensor, H_II: Tensor, keep_OI: Tensor) -> Tensor:
    """The weights of least error that are zero outside `keep`, (out, in), float64: exact, row by row.

    `q_K = (w H)_K (H_KK)^-1`; rows of like length are solved together.
    """
    WH_OI = W_OI.double() @ H_II
    counts = keep_OI.sum(1)
    Q_OI = torch.zeros_like(WH_OI)
    rows = torch.argsort(counts, stable=True).tolist()
    while rows:
        width = max(1, int(counts[rows[-1]]))
        part, rows = rows[-max(1, CHUNK // width**2) :], rows[: -max(1, CHUNK // width**2)]
        index = torch.tensor(part, device=W_OI.device)
        kept_RI = keep_OI[index]
        places_RK = torch.argsort((~kept_RI).to(torch.uint8), dim=1, stable=True)[:, :width]
        real_RK = kept_RI.gather(1, places_RK)
        A_RKK = H_II[places_RK[:, :, None], places_RK[:, None, :]]
        A_RKK = A_RKK * (real_RK[:, :, None] & real_RK[:, None, :])
        A_RKK.diagonal(dim1=1, dim2=2).add_((~real_RK).to(A_RKK.dtype))
        b_RK = WH_OI[index].gather(1, places_RK) * real_RK
        solved = torch.cholesky_solve(b_RK[:, :, None], torch.linalg.cholesky(A_RKK))[:, :, 0]
        Q_OI[index] = torch.zeros_like(WH_OI[index]).scatter_(1, places_RK, solved * real_RK)
    return Q_OI


@remembered(64)  # a solver asks it for several widths of the same layer
def unit_errors(W_OI: Tensor, H_II: Tensor, places_US: Tensor, weight_O: Tensor | None = None) -> Tensor:
    """What the output loses by each unit's removal when the rest makes up for it as well as it can, (units,).

    Units go one at a time, the cheapest first: a unit's figure is its own loss at that moment, or the largest so far,
    so that ascending figures are the order of removal.

    Args:
        places_US: the inputs of each unit, (units, inputs a unit), disjoint.
        weight_O: how much an error of each output counts, 1 unless given.
    Reference: Kurtic et al. 2023 (ZipLM), arXiv:2302.04089: W_S ((H^-1)_SS)^-1 W_S^T and its updates.
    """
    scale = torch.ones(len(W_OI), dtype=torch.float64) if weight_O is None else weight_O.double()
    flat = places_US.flatten()  # inputs of no unit stay: of them nothing is needed again
    left_OI = (W_OI.double() * scale.sqrt()[:, None])[:, flat]
    inverse_II = inverse(H_II)[flat][:, flat]
    units, places_US = torch.arange(len(places_US)), torch.arange(len(flat)).reshape(places_US.shape)
    found = torch.full((len(units),), math.inf, dtype=torch.float64)
    highest = 0.0
    while len(units):
        losses_U = _unit_losses(left_OI, inverse_II, places_US)
        best = int(losses_U.argmin())
        highest = max(highest, float(losses_U[best]))
        found[units[best]] = highest
        gone = places_US[best]
        across_SI = torch.linalg.solve(inverse_II[gone][:, gone], inverse_II[gone])
        left_OI.addmm_(left_OI[:, gone], across_SI, alpha=-1)
        inverse_II.addmm_(inverse_II[:, gone], across_SI, alpha=-1)
        others = torch.arange(len(units)) != best
        units, places_US = units[others], places_US[others]
        if places_US.numel() < SHRINK * len(inverse_II):
            flat = places_US.flatten()
            left_OI, inverse_II = left_OI[:, flat], inverse_II[flat][:, flat]
            places_US = torch.arange(len(flat)).reshape(places_US.shape)
    return found


def _unit_losses(W_OI: Tensor, inverse_II: Tensor, places_US: Tensor) -> Tensor:
    """`W_S ((H^-1)_SS)^-1 W_S^T` summed over outputs, (units,)."""
    if places_US.shape[1] == 1:
        places_U = places_US.flatten()
        return W_OI.square().sum(0)[places_U] / inverse_II.diagonal()[places_U]
    blocks_USS = inverse_II[places_US[:, :, None], places_US[:, None, :]]
    W_USO = W_OI.T[places_US]
    losses_U: Tensor = (W_USO * torch.linalg.solve(blocks_USS, W_USO)).sum((1, 2))
    return losses_U
