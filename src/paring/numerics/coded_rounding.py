"""Rounding that knows what each integer costs to code. Legend: O out, I in, C candidates, V rows of a table, D dim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from paring.numerics.cholesky import inverse_root

LARGEST = 127
BLOCK = 64
ROWS_AT_ONCE = 1024
RATE_SMOOTHING = 0.5  # pseudo-counts of each size


@dataclass(frozen=True)
class Rates:
    """Bits of an integer at each place: of being zero or not there, and of its value if it is not zero."""

    zero_OI: Tensor
    nonzero_OI: Tensor
    value_C: Tensor  # for -LARGEST .. LARGEST

    def bits(self, q_OI: Tensor) -> Tensor:
        """Bits of each integer, (O, I)."""
        return torch.where(q_OI == 0, self.zero_OI, self.nonzero_OI + self.value_C[q_OI.long() + LARGEST])


def rates_of(q_OI: Tensor) -> Rates:
    """What these integers cost under densities of rows and columns, (odds of a place = row odds x column odds / all),
    and one distribution of the values that are not zero."""
    there = (q_OI != 0).double()
    all_odds = _odds(there.mean(), there.numel())
    row_O1, column_1I = _odds(there.mean(1, keepdim=True), there.shape[1]), _odds(there.mean(0, True), len(there))
    odds_OI = row_O1 * column_1I / all_odds
    count_C = torch.bincount((q_OI[q_OI != 0].long() + LARGEST).flatten(), minlength=2 * LARGEST + 1).double()
    size_C = torch.arange(-LARGEST, LARGEST + 1, device=q_OI.device).abs().double()
    count_C = count_C + RATE_SMOOTHING / (1 + size_C) ** 2
    count_C[LARGEST] = 0
    return Rates(
        torch.log2(1 + odds_OI), torch.log2(1 + 1 / odds_OI), -torch.log2((count_C / count_C.sum()).clamp_min(1e-12))
    )


def rate_distortion_round(
    W_OI: Tensor, H_II: Tensor, step: float, rate_weight: float, importance_O: Tensor | None = None, rounds: int = 3
) -> Tensor:
    """Integers q (O, I) int8 that make `sum_o importance_o tr(e_o H e_o^T) + rate_weight x bits` small, e = W - step q.

    Optimal brain surgeon rounding in integer units, with a Gaussian rate model folded into the Hessian so that later
    columns know that large values cost; then the choice of each integer by its true rate, which is estimated from the
    integers of the round before.

    Args:
        W_OI: weight, (out, in). H_II: damped second moment of the inputs. importance_O: of each output, mean 1.
    Reference: Conzelmann & Bamler 2025 (CERWU), arXiv:2505.18758.
    """
    s_OI, H = W_OI.detach().double() / step, H_II.double() * step**2
    weight_O = s_OI.new_full((len(s_OI),), rate_weight)
    if importance_O is not None:
        weight_O = rate_weight / importance_O.double().clamp_min(1e-3)
    gain = 1 / (math.log(2) * max(float((s_OI**2).mean()), 1e-6))
    ridge = rate_weight * gain / 2
    with_rate = H + ridge * torch.eye(len(H), dtype=H.dtype)
    upper_II = inverse_root(with_rate)
    aim_OI = s_OI @ H @ upper_II.T @ upper_II  # s H (H + ridge)^-1
    q_OI = torch.round(aim_OI).clamp(-LARGEST, LARGEST)
    for _ in range(rounds):
        q_OI = _sweep(aim_OI, upper_II, rates_of(q_OI), weight_O, ridge)
    return q_OI.to(torch.int8)


def _sweep(aim_OI: Tensor, upper_II: Tensor, rates: Rates, weight_O: Tensor, ridge: float) -> Tensor:
    left_OI, q_OI = aim_OI.clone(), torch.zeros_like(aim_OI)
    num_in = aim_OI.shape[1]
    for start in range(0, num_in, BLOCK):
        stop = min(start + BLOCK, num_in)
        error_OB = torch.zeros_like(left_OI[:, start:stop])
        for j in range(start, stop):
            v_O = left_OI[:, j]
            scale = float(upper_II[j, j])
            q_O = _chosen(v_O, rates, j, weight_O, ridge, scale)
            q_OI[:, j] = q_O
            error_O = (v_O - q_O) / scale
            error_OB[:, j - start] = error_O
            left_OI[:, j + 1 : stop] -= error_O[:, None] * upper_II[j, j + 1 : stop]
        left_OI[:, stop:] -= error_OB @ upper_II[start:stop, stop:]
    return q_OI


def _chosen(v_O: Tensor, rates: Rates, j: int, weight_O: Tensor, ridge: float, scale: float) -> Tensor:
    """The cheapest candidate of each output for input j."""
    candidate_CO = _candidates(v_O)
    value_CO = rates.value_C[candidate_CO.long() + LARGEST] + rates.nonzero_OI[:, j]
    bits_CO = torch.where(candidate_CO == 0, rates.zero_OI[:, j].expand_as(value_CO), value_CO)
    cost_CO = (v_O - candidate_CO) ** 2 / scale**2 + weight_O * bits_CO - ridge * candidate_CO**2
    return candidate_CO.gather(0, cost_CO.argmin(0, keepdim=True))[0]


def _candidates(v: Tensor) -> Tensor:
    """The nearest integer, those up to two nearer to zero, one of its sign, and zero, (5, ...)."""
    nearest, sign, zero = torch.round(v), torch.sign(v), torch.zeros_like(v)
    found = torch.stack((nearest, nearest - sign, nearest - 2 * sign, sign, zero))
    return torch.where(found * sign < 0, zero, found).clamp(-LARGEST, LARGEST)


def rate_distortion_rows(
    W_VD: Tensor, price_V: Tensor, step_V: Tensor, rate_weight: float, importance_D: Tensor, rounds: int = 3
) -> Tensor:
    """Integers q (V, D) int8 that make `sum price_v importance_d (w - step_v q)^2 + rate_weight x bits` small.

    The rows of a table are looked up and never summed, so each number stands for itself; rates as in
    `rate_distortion_round`.

    Args:
        W_VD: table, (rows, dim). price_V: of a squared error in each row. step_V: of each row. importance_D: mean 1.
    """
    s_VD = W_VD.detach().double() / step_V[:, None]
    q_VD = torch.round(s_VD).clamp(-LARGEST, LARGEST)
    price_VD = (price_V * step_V**2)[:, None] * importance_D.double().clamp_min(1e-3)
    for _ in range(rounds):
        rates = rates_of(q_VD)
        for rows in torch.split(torch.arange(len(q_VD)), ROWS_AT_ONCE):
            candidate_CVD = _candidates(s_VD[rows])
            value_CVD = rates.value_C[candidate_CVD.long() + LARGEST] + rates.nonzero_OI[rows]
            bits_CVD = torch.where(candidate_CVD == 0, rates.zero_OI[rows].expand_as(value_CVD), value_CVD)
            cost_CVD = price_VD[rows] * (s_VD[rows] - candidate_CVD) ** 2 + rate_weight * bits_CVD
            q_VD[rows] = candidate_CVD.gather(0, cost_CVD.argmin(0, keepdim=True))[0]
    return q_VD.to(torch.int8)


def spaced_round(W_OI: Tensor, H_II: Tensor, step: float, resolution: int = 4) -> tuple[Tensor, Tensor]:
    """(q int8 (O, I), scale (I,)): each column on a grid of its own, as fine as its error weighs.

    The spacing of column j is proportional to U_jj, U the upper Cholesky factor of H^-1, so that every column adds the
    same error; after entropy coding that is within a quarter of a bit of the water-filling bound. Each column is then
    shrunk to its best multiple. Scales are powers of 2^(1/resolution), so that they code in a few bits each.

    Args:
        step: mean spacing over the columns (geometric).
    Reference: Lifar, Savkin, Ordentlich & Polyanskiy 2026 (WaterSIC), arXiv:2603.04956.
    """
    W, H = W_OI.detach().double(), H_II.double()
    upper_II = inverse_root(H)
    diagonal_I = upper_II.diagonal()
    spacing_I = power_of_two(step * diagonal_I / diagonal_I.log().mean().exp(), resolution)
    left_OI, q_OI, scale_I = W.clone(), torch.zeros_like(W), torch.zeros_like(spacing_I)
    for j in range(W.shape[1]):
        v_O = left_OI[:, j]
        q_O = torch.round(v_O / spacing_I[j]).clamp(-LARGEST, LARGEST)
        energy = float((q_O**2).sum())
        best = float((q_O * v_O).sum()) / energy if energy else float(spacing_I[j])
        scale_I[j] = power_of_two(torch.tensor(max(best, 1e-12), dtype=W.dtype), 4 * resolution)
        q_OI[:, j] = q_O
        error_O = (v_O - q_O * scale_I[j]) / diagonal_I[j]
        left_OI[:, j + 1 :] -= error_O[:, None] * upper_II[j, j + 1 :]
    return q_OI.to(torch.int8), scale_I.to(W_OI.dtype)


def power_of_two(values: Tensor, resolution: int) -> Tensor:
    """The nearest powers of 2^(1/resolution)."""
    return torch.exp2(torch.round(torch.log2(values) * resolution) / resolution)


def water_filling_bits(variance: Tensor, moment_II: Tensor, distortion: float) -> float:
    """Least bits a weight at mean distortion `tr(e H e^T) / I`: reverse water-filling over the eigenvalues of H.

    Args:
        variance: of the weights, (), a Gaussian source. distortion: per weight of a row.
    Reference: Cover & Thomas 2006, theorem 10.3.3.
    """
    spread_I = torch.linalg.eigvalsh(moment_II.double()).clamp_min(0) * float(variance)
    low, high = 0.0, float(spread_I.max())
    for _ in range(100):
        level = (low + high) / 2
        if float(torch.minimum(spread_I, torch.full_like(spread_I, level)).mean()) < distortion:
            low = level
        else:
            high = level
    return float(torch.log2((spread_I / max(low, 1e-300)).clamp_min(1)).mean()) / 2


def _odds(share: Tensor, count: int) -> Tensor:
    p = (share * count + RATE_SMOOTHING) / (count + 2 * RATE_SMOOTHING)
    return p / (1 - p)


def slopes_of(q_OI: Tensor, rates: Rates) -> Tensor:
    """Bits that an integer saves when it is one nearer to zero, at least 0, (O, I); a zero's is what one would cost."""
    size_OI = q_OI.double().abs().clamp_min(1)
    sign_OI = torch.where(q_OI == 0, torch.ones_like(size_OI), torch.sign(q_OI.double()))
    here_OI, below_OI = sign_OI * size_OI, sign_OI * (size_OI - 1)
    return (rates.bits(here_OI) - rates.bits(below_OI)).clamp_min(0)
