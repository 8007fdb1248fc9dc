"""Low-rank maths of one matrix. Legend: O out, I in, K full rank, R rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from paring.errors import LayerError, ShapeError
from paring.numerics.hessian import Whitening


def full_rank(num_out: int, num_in: int) -> int:
    """The largest rank an (out, in) matrix can have."""
    return min(num_out, num_in)


def break_even_rank(num_out: int, num_in: int) -> int:
    """The largest rank at which two factors hold fewer numbers than the (out, in) matrix; 0 if none does."""
    return (num_out * num_in - 1) // (num_out + num_in)


@dataclass(frozen=True)
class Decomposition:
    """A matrix split into rank-one parts in some norm, largest first: `W = sum_k left_k S_k right_k`. float64.

    `cut(rank)` is the best approximation of that rank in that norm, `loss(rank)` its squared error there.
    """

    left_OK: Tensor
    S_K: Tensor
    right_KI: Tensor

    @property
    def squares_K(self) -> Tensor:
        """Squared singular values: what each part is worth."""
        return self.S_K**2

    def cut(self, rank: int) -> tuple[Tensor, Tensor]:
        """Factors (A, B), (out, rank) and (rank, in). The singular values are split evenly between the two.

        Raises: ShapeError for a rank outside 1..min(out, in).
        """
        limit = full_rank(len(self.left_OK), self.right_KI.shape[1])
        if not 1 <= rank <= limit:
            shape = (len(self.left_OK), self.right_KI.shape[1])
            raise ShapeError(f"rank {rank} of a {shape} matrix; it must lie in 1..{limit}.")
        short = max(0, rank - len(self.S_K))  # a singular second moment leaves fewer parts than the shape has
        root_R = torch.nn.functional.pad(self.S_K[:rank].sqrt(), (0, short))
        left_OR = torch.nn.functional.pad(self.left_OK[:, :rank], (0, short))
        right_RI = torch.nn.functional.pad(self.right_KI[:rank], (0, 0, 0, short))
        return left_OR * root_R, root_R[:, None] * right_RI

    def loss(self, rank: int) -> float:
        """The sum of the discarded squared singular values."""
        return float(self.squares_K[rank:].sum())


def decompose(W_OI: Tensor, whiten: Whitening | None = None, weight_O: Tensor | None = None) -> Decomposition:
    """The rank-one parts of W, optimal in the norm `tr(D (W - W_r) G (W - W_r)^T D)`.

    Args:
        W_OI: weight, (out, in).
        whiten: the square root of `G = E[x x^T]`: then the error counted is that of the layer's output. Without it G
            is the identity: the plain SVD.
        weight_O: the diagonal of D, all above 0: how much each output counts (a root of its Fisher information).
    Raises: LayerError if W holds NaN or infinity.
    Reference: Eckart and Young 1936, doi:10.1007/BF02288367; whitened: Chen et al. 2021 (DRONE) and Wang et al. 2024
        (SVD-LLM), arXiv:2403.07378; weighted: Hsu et al. 2022 (FWSVD), arXiv:2207.00112.
    Example: W (8, 64) -> 8 parts; `.cut(4)` -> A (8, 4), B (4, 64).
    """
    if not torch.isfinite(W_OI).all():
        raise LayerError("its weight holds NaN or infinity")
    scaled_OI = W_OI.double() if weight_O is None else weight_O[:, None].double() * W_OI.double()
    if whiten is None:
        U_OK, S_K, right_KI = _svd(scaled_OI)
    elif len(W_OI) < W_OI.shape[1]:
        U_OK, S_K, right_KI = _by_outputs(scaled_OI, whiten.G_II)
    else:
        U_OK, S_K, Vh_KI = _svd(scaled_OI @ whiten.root_IK)
        right_KI = whiten.unwhiten(Vh_KI)
    return Decomposition(U_OK if weight_O is None else U_OK / weight_O[:, None].double(), S_K, right_KI)


def _by_outputs(W_OI: Tensor, G_II: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of a wide matrix by the second moment of its outputs, which is small: `W G W^T = U S^2 U^T` and
    `right = S^-1 U^T W`. Wherever the data goes the same parts as through a root of G, which costs O(in^3)."""
    moment_OO = W_OI @ G_II @ W_OI.T
    squares_K, U_OK = torch.linalg.eigh((moment_OO + moment_OO.T) / 2)
    kept = squares_K > W_OI.shape[1] * torch.finfo(torch.float64).eps * squares_K[-1]
    kept[-1] = True  # outputs that are always zero have one part, of no weight
    S_K, U_OK = squares_K[kept].flip(0).clamp(min=0).sqrt(), U_OK[:, kept].flip(1)
    return U_OK, S_K, (U_OK.T @ W_OI) / S_K.clamp(min=1e-150)[:, None]


def _svd(M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The thin SVD; of an oblong matrix through QR, which is two to three times faster."""
    rows, columns = M.shape
    if rows == columns:
        U, S, Vh = torch.linalg.svd(M)
        return U, S, Vh
    Q, R = torch.linalg.qr(M if rows > columns else M.T)
    U, S, Vh = torch.linalg.svd(R)
    return (Q @ U, S, Vh) if rows > columns else (Vh.T, S, (Q @ U).T)


def truncated_svd(W_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (A, B), (out, rank) and (rank, in), whose product is the best rank-`rank` approximation of W.

    The singular values are split evenly between the two, which keeps both on one scale for quantization. Computed in
    float64; dtype of W_OI. The squared error is the sum of the discarded squared singular values.
    Raises: ShapeError for a rank outside 1..min(out, in); LayerError for NaN.
    Reference: Eckart and Young 1936, doi:10.1007/BF02288367.
    Example: W (8, 64), rank 4 -> A (8, 4), B (4, 64).
    """
    A_OR, B_RI = decompose(W_OI).cut(rank)
    return A_OR.to(W_OI.dtype), B_RI.to(W_OI.dtype)


def output_loss(W_OI: Tensor, A_OR: Tensor, B_RI: Tensor, G_II: Tensor) -> float:
    """`tr((W - A B) G (W - A B)^T)`: the mean squared error of the layer's output, summed over outputs."""
    E_OI = W_OI.double() - A_OR.double() @ B_RI.double()
    return float(((E_OI @ G_II) * E_OI).sum())


def table_parts(E_VD: Tensor, weight_V: Tensor | None = None) -> Decomposition:
    """The parts of a long table, rows weighted by how often they are looked up; O(width^2) memory beside the table.

    The kept directions are those of `E^T diag(weight) E`; every row is then projected on them, so that rows never
    looked up are approximated as well as their directions allow.
    Args: E_VD: table, (rows, width); weight_V: non-negative, (rows,); all ones without it.
    Raises: LayerError for NaN.
    """
    if not torch.isfinite(E_VD).all():
        raise LayerError("its weight holds NaN or infinity")
    wide_VD = E_VD.double()
    weighted_VD = wide_VD if weight_V is None else wide_VD * weight_V[:, None].double()
    squares_K, vectors_DK = torch.linalg.eigh(weighted_VD.T @ wide_VD)
    S_K = squares_K.flip(0).clamp(min=0).sqrt()
    directions_DK = vectors_DK.flip(1)
    return Decomposition(wide_VD @ (directions_DK / S_K.clamp(min=1e-150)), S_K, directions_DK.T)


def energy_rank(squares_K: Tensor, energy: float) -> int:
    """The smallest rank that keeps the share `energy` of these squared singular values; 1 if all are zero."""
    kept_K = squares_K.cumsum(0)
    return min(int((kept_K < energy * kept_K[-1]).sum()) + 1, len(squares_K))
