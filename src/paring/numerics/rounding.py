"""Rounding that looks at the layer's inputs: every method lowers `tr((W - Q) H (W - Q)^T)`, H = E[x x^T].

Legend: O out, I in. W (O, I), H (I, I) float64, q (O, I) int8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paring.errors import LayerError
from paring.numerics.cholesky import inverse_root
from paring.numerics.grid import Grid

BLOCK = 128  # columns whose corrections are kept together, so that the rest is updated by one product


def layer_error(W_OI: Tensor, Q_OI: Tensor, H_II: Tensor) -> Tensor:
    """`(w - q) H (w - q)^T` of every row, (O,): the mean squared error of each output, float64."""
    off_OI = (W_OI - Q_OI).double()
    return ((off_OI @ H_II) * off_OI).sum(1)


def damped(H_II: Tensor, damping: float) -> Tensor:
    """`H + damping * mean(diag H) * I`; inputs that are always zero get a one on the diagonal.

    Raises: LayerError if H holds NaN or infinity.
    """
    if not torch.isfinite(H_II).all():
        raise LayerError("its inputs hold NaN or infinity")
    H_II = H_II.double().clone()
    diagonal_I = H_II.diagonal()
    dead_I = diagonal_I == 0
    lift = damping * float(diagonal_I.mean())
    diagonal_I += torch.where(dead_I, 1.0, lift)
    return H_II


def obs_round(W_OI: Tensor, H_II: Tensor, grid: Grid, *, damping: float = 0.01, ordered: bool = True) -> Tensor:
    """Integers rounded column by column, each column's error passed on to those not yet rounded, (O, I) int8.

    Args:
        damping: share of mean(diag H) added to the diagonal.
        ordered: columns of large H first, while there are others left to mend their error.
    Reference: Frantar et al. 2023, GPTQ, arXiv:2210.17323, algorithm 1.
    Example: W (8, 64), H (64, 64), a 4-bit grid -> (8, 64) in -7..7.
    """
    H = damped(H_II, damping)
    order_I = H.diagonal().argsort(descending=True, stable=True) if ordered else torch.arange(len(H))
    W_IO, scale_IO, zero_IO = _columns(W_OI, grid, order_I)
    H = H[order_I][:, order_I]
    U_II = inverse_root(H)
    q_IO = torch.empty_like(W_IO)
    for start in range(0, len(W_IO), BLOCK):
        stop = min(start + BLOCK, len(W_IO))
        errors_BO = torch.empty_like(W_IO[start:stop])
        for j in range(start, stop):
            q_O = (torch.round(W_IO[j] / scale_IO[j]) + zero_IO[j]).clamp(grid.quant_min, grid.quant_max)
            error_O = (W_IO[j] - (q_O - zero_IO[j]) * scale_IO[j]) / U_II[j, j]
            W_IO[j:stop].addr_(U_II[j, j:stop], error_O, alpha=-1)
            q_IO[j], errors_BO[j - start] = q_O, error_O
        W_IO[stop:].addmm_(U_II[start:stop, stop:].T, errors_BO, alpha=-1)
    back_OI = torch.empty_like(W_OI, dtype=torch.int8)
    back_OI[:, order_I] = q_IO.T.to(torch.int8)
    return back_OI


def _columns(W_OI: Tensor, grid: Grid, order_I: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, scales and zero points with a column of the layer in each row, in this order; float64."""
    parts = (W_OI.detach(), *grid.spread(W_OI.shape[1]))
    W_IO, scale_IO, zero_IO = (part.double()[:, order_I].T.contiguous() for part in parts)
    return W_IO, scale_IO, zero_IO


def descend(q_OI: Tensor, W_OI: Tensor, H_II: Tensor, grid: Grid, *, sweeps: int = 4) -> Tensor:
    """`q` after coordinate descent: each integer in turn moved to the best one given all others; never worse.

    Reference: Nair, Suggala 2024, CDQuant, arXiv:2406.17542.
    """
    H = H_II.double()
    W_IO, scale_IO, zero_IO = _columns(W_OI, grid, torch.arange(len(H)))
    q_IO = q_OI.double().T.contiguous()
    slope_IO = H @ ((q_IO - zero_IO) * scale_IO - W_IO)
    diagonal_I = H.diagonal().tolist()
    for _ in range(sweeps):
        moved = False
        for start in range(0, len(W_IO), BLOCK):
            stop = min(start + BLOCK, len(W_IO))
            moves_BO = torch.zeros_like(W_IO[start:stop])
            for j in range(start, stop):
                if diagonal_I[j] <= 0:
                    continue
                wanted_O = torch.round(q_IO[j] - slope_IO[j] / (diagonal_I[j] * scale_IO[j]))
                step_O = wanted_O.clamp(grid.quant_min, grid.quant_max) - q_IO[j]
                if not bool(step_O.any()):
                    continue
                q_IO[j] += step_O
                moves_BO[j - start] = step_O * scale_IO[j]
                slope_IO[start:stop].addr_(H[start:stop, j], moves_BO[j - start])
            if bool(moves_BO.any()):
                moved = True
                slope_IO[:start].addmm_(H[:start, start:stop], moves_BO)
                slope_IO[stop:].addmm_(H[stop:, start:stop], moves_BO)
        if not moved:
            break
    return q_IO.T.to(torch.int8).contiguous()


def learned_round(
    W_OI: Tensor, H_II: Tensor, grid: Grid, *, steps: int = 500, regularization: float = 0.01, warmup: float = 0.2
) -> Tensor:
    """Integers rounded up or down as learned, (O, I) int8: AdaRound on the layer's error, which H gives exactly.

    A soft rounding h in [0, 1] per weight is trained by Adam on the row errors (each over its error under nearest
    rounding) plus `regularization * sum(1 - |2 h - 1|^beta)`, beta falling from 20 to 2 after the share `warmup`.
    Deterministic: no data is drawn. A row for which nearest rounding is better keeps it.
    Reference: Nagel et al. 2020, arXiv:2004.10568, equations 21 to 25.
    """
    W = W_OI.detach().float()
    H = H_II.float()
    scale_OI, zero_OI = (part.float() for part in grid.spread(W.shape[1]))
    low_OI = torch.floor(W / scale_OI)
    rest_OI = (W / scale_OI - low_OI).clamp(0.01, 0.99)
    logit_OI = torch.logit((rest_OI + 0.1) / 1.2).requires_grad_(True)
    nearest_OI = grid.nearest(W)
    base_O1 = layer_error(W, grid.values(nearest_OI).float(), H_II).float().clamp_min(1e-20)[:, None]
    optimizer = torch.optim.Adam([logit_OI], lr=1e-2)
    with torch.enable_grad():
        for step in range(steps):
            h_OI = (torch.sigmoid(logit_OI) * 1.2 - 0.1).clamp(0, 1)
            q_OI = (low_OI + h_OI + zero_OI).clamp(grid.quant_min, grid.quant_max)
            off_OI = (q_OI - zero_OI) * scale_OI - W
            loss = ((off_OI @ H) * off_OI / base_O1).sum()
            progress = (step / steps - warmup) / (1 - warmup)
            if progress > 0:
                beta = 2 + 18 * (1 + float(torch.cos(torch.tensor(progress * torch.pi)))) / 2
                loss = loss + regularization * (1 - (2 * h_OI - 1).abs().pow(beta)).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    up_OI = (logit_OI.detach() > 0).float()
    q_OI = (low_OI + up_OI + zero_OI).clamp(grid.quant_min, grid.quant_max).to(torch.int8)
    learned_O = layer_error(W, grid.values(q_OI), H_II)
    return torch.where((learned_O <= base_O1[:, 0].double())[:, None], q_OI, nearest_OI)
