"""Low-rank maths. Legend: O out, I in, R rank."""

from __future__ import annotations

import torch
from torch import Tensor

from paring.errors import ShapeError


def full_rank(num_out: int, num_in: int) -> int:
    """The largest rank an (out, in) matrix can have."""
    return min(num_out, num_in)


def break_even_rank(num_out: int, num_in: int) -> int:
    """The largest rank at which two factors hold fewer numbers than the (out, in) matrix; 0 if none does."""
    return (num_out * num_in - 1) // (num_out + num_in)


def truncated_svd(W_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (A, B), (out, rank) and (rank, in), whose product is the best rank-`rank` approximation of W.

    The singular values are split evenly between the two, which keeps both on one scale for quantization. Computed in
    float64; dtype of W_OI. The squared error is the sum of the discarded squared singular values.
    Raises: ShapeError for a rank outside 1..min(out, in).
    Reference: Eckart and Young 1936, doi:10.1007/BF02288367.
    Example: W (8, 64), rank 4 -> A (8, 4), B (4, 64).
    """
    if not 1 <= rank <= full_rank(*W_OI.shape):
        raise ShapeError(f"rank {rank} of a {tuple(W_OI.shape)} matrix; it must lie in 1..{full_rank(*W_OI.shape)}.")
    U_OK, S_K, Vh_KI = torch.linalg.svd(W_OI.double(), full_matrices=False)
    root_R = S_K[:rank].sqrt()
    return (U_OK[:, :rank] * root_R).to(W_OI.dtype), (root_R[:, None] * Vh_KI[:rank]).to(W_OI.dtype)


def energy_rank(W_OI: Tensor, energy: float) -> int:
    """The smallest rank that keeps the share `energy` of the squared singular values; 1 for an all-zero matrix."""
    squares = torch.linalg.svdvals(W_OI.double()) ** 2
    kept = squares.cumsum(0)
    return min(int((kept < energy * kept[-1]).sum()) + 1, len(squares))
