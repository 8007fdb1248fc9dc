"""Convolution kernels in fewer channels (Tucker-2), and split into a column and a row.

Legend: O out channels, I in channels, P positions of the kernel (height x width), J = I * P in the order of
`torch.nn.functional.unfold`, R kept out channels, S kept in channels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from paring.errors import LayerError, ShapeError
from paring.numerics.factor import Decomposition, decompose
from paring.numerics.hessian import Whitening, whitening


@dataclass(frozen=True)
class Tucker2:
    """`W[o,i,p] = sum_rs out[o,r] core[r,s,p] in[s,i]`. float64."""

    out_OR: Tensor
    core_RSP: Tensor
    in_SI: Tensor

    def full(self) -> Tensor:
        """The kernel that the three factors stand for, (out, in, positions)."""
        return torch.einsum("or,rsp,si->oip", self.out_OR, self.core_RSP, self.in_SI)


def unfoldings(W_OIP: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel as a matrix over its out channels, (out, in * pos), and over its in channels, (in, out * pos)."""
    return W_OIP.flatten(1), W_OIP.transpose(0, 1).flatten(1)


def hosvd(W_OIP: Tensor, rank_out: int, rank_in: int) -> Tucker2:
    """Tucker-2 by the leading singular vectors of each unfolding; exact at full ranks.

    Its squared error is at most the sum of what both unfoldings discard.
    Reference: De Lathauwer et al. 2000, doi:10.1137/S0895479896305696; for convolutions Kim et al. 2016,
        arXiv:1511.06530.
    Raises: ShapeError for ranks outside 1..channels; LayerError for NaN.
    """
    _check(W_OIP, rank_out, rank_in)
    over_out, over_in = unfoldings(W_OIP.double())
    U_OR, V_IS = _leading(over_out, rank_out), _leading(over_in, rank_in)
    return _projected(W_OIP, U_OR, V_IS)


def hooi(W_OIP: Tensor, rank_out: int, rank_in: int, num_sweeps: int = 50) -> Tucker2:
    """Tucker-2 by alternating refinement from the HOSVD (TensorLy's `partial_tucker`): never worse than `hosvd`.

    Reference: De Lathauwer et al. 2000b, doi:10.1137/S0895479898346995. Raises: as `hosvd`.
    """
    start = hosvd(W_OIP, rank_out, rank_in)
    if not W_OIP.any():
        return start  # partial_tucker divides by the norm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorly.decomposition import partial_tucker

        (_, factors), _ = partial_tucker(
            W_OIP.double().numpy(),
            rank=[rank_out, rank_in],
            modes=[0, 1],
            n_iter_max=num_sweeps,
            tol=1e-8,
            random_state=0,
        )
    refined = _projected(W_OIP, *(torch.from_numpy(factor.copy()) for factor in factors))
    return min(start, refined, key=lambda found: float((W_OIP.double() - found.full()).square().sum()))


def whitened_tucker(W_OIP: Tensor, G_JJ: Tensor, rank_out: int, rank_in: int, num_sweeps: int = 3) -> Tucker2:
    """Tucker-2 for the calibration inputs: small error of the layer's output, not of its kernel.

    The kept in channels come from the unfolding whitened by the channels' second moment; given them, out channels and
    core are the exact optimum under the whole of G (reduced-rank regression). Then the in channels are chosen again
    for what those out channels read, `num_sweeps` times, and the best is returned.

    Args: G_JJ: second moment of the unfolded inputs, (in * positions, in * positions).
    Raises: as `hosvd`; LayerError for a G of zeros.
    """
    _check(W_OIP, rank_out, rank_in)
    wide_OIP = W_OIP.double()
    channels = whitening(channel_moment(G_JJ, W_OIP.shape[1]))
    best, best_loss, read_OIP = None, float("inf"), wide_OIP
    for _ in range(1 + num_sweeps):
        in_SI = _in_channels(read_OIP, channels, rank_in)
        found = _regressed(wide_OIP, G_JJ, in_SI, rank_out)
        loss = kernel_loss(wide_OIP, found.full(), G_JJ)
        if loss >= best_loss * (1 - 1e-6):
            break
        best, best_loss = found, loss
        Q_OR, _ = torch.linalg.qr(found.out_OR)
        read_OIP = torch.einsum("or,qr,qip->oip", Q_OR, Q_OR, wide_OIP)
    assert best is not None
    return best


def whitened_in_squares(W_OIP: Tensor, G_JJ: Tensor) -> Tensor:
    """Squared singular values of the in-channel unfolding, whitened by the channels' second moment."""
    return _over_in(W_OIP.double(), whitening(channel_moment(G_JJ, W_OIP.shape[1]))).squares_K


def channel_moment(G_JJ: Tensor, num_in: int) -> Tensor:
    """Second moment of the in channels, (in, in), summed over the kernel's positions."""
    size = len(G_JJ) // num_in
    return torch.einsum("ipjp->ij", G_JJ.reshape(num_in, size, num_in, size))


def kernel_loss(W_OIP: Tensor, approx_OIP: Tensor, G_JJ: Tensor) -> float:
    """`tr((W - approx) G (W - approx)^T)` over unfolded kernels: the mean squared error of the output."""
    E_OJ = (W_OIP.double() - approx_OIP.double()).flatten(1)
    return float(((E_OJ @ G_JJ) * E_OJ).sum())


def spatial_parts(W_OIHW: Tensor) -> Decomposition:
    """The parts of the kernel as a matrix (in * height, out * width): `cut(r)` gives a column and a row kernel.

    See `spatial_kernels`. Reference: Jaderberg et al. 2014, arXiv:1405.3866 (scheme 2).
    """
    O, I, H, W = W_OIHW.shape
    return decompose(W_OIHW.permute(1, 2, 0, 3).reshape(I * H, O * W))


def spatial_kernels(parts: Decomposition, rank: int, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """(column, row) kernels, (rank, in, height, 1) and (out, rank, 1, width), applied one after the other."""
    O, I, H, W = shape
    column_JR, row_RQ = parts.cut(rank)
    column = column_JR.T.reshape(rank, I, H, 1)
    return column, row_RQ.reshape(rank, O, W).transpose(0, 1).reshape(O, rank, 1, W)


def _check(W_OIP: Tensor, rank_out: int, rank_in: int) -> None:
    if not torch.isfinite(W_OIP).all():
        raise LayerError("its weight holds NaN or infinity")
    O, I, _ = W_OIP.shape
    if not (1 <= rank_out <= O and 1 <= rank_in <= I):
        raise ShapeError(
            f"ranks {rank_out} and {rank_in} of {O} out and {I} in channels; each must lie in 1..channels."
        )


def _leading(matrix: Tensor, rank: int) -> Tensor:
    """Its first left singular vectors, (rows, rank), zero where the matrix has fewer columns than that."""
    U_OK = decompose(matrix).left_OK[:, :rank]
    return torch.nn.functional.pad(U_OK, (0, rank - U_OK.shape[1]))


def _projected(W_OIP: Tensor, U_OR: Tensor, V_IS: Tensor) -> Tucker2:
    core_RSP = torch.einsum("oip,or,is->rsp", W_OIP.double(), U_OR, V_IS)
    return Tucker2(U_OR, core_RSP, V_IS.T)


def _over_in(W_OIP: Tensor, channels: Whitening) -> Decomposition:
    """Parts of the transposed in-channel unfolding, (out * positions, in), whitened on its in side."""
    return decompose(W_OIP.transpose(1, 2).flatten(0, 1), channels)


def _in_channels(W_OIP: Tensor, channels: Whitening, rank_in: int) -> Tensor:
    rows_KI = _over_in(W_OIP, channels).right_KI[:rank_in]
    short = rank_in - len(rows_KI)
    return torch.nn.functional.pad(rows_KI, (0, 0, 0, short))


def _regressed(W_OIP: Tensor, G_JJ: Tensor, in_SI: Tensor, rank_out: int) -> Tucker2:
    (_, I, P), S = W_OIP.shape, len(in_SI)
    G_IPJ = G_JJ.reshape(I, P, I * P)
    read_SPJ = torch.einsum("si,ipj->spj", in_SI, G_IPJ)
    cross_OQ = W_OIP.flatten(1) @ read_SPJ.reshape(S * P, I * P).T
    inner_QQ = torch.einsum("spiq,ti->sptq", read_SPJ.reshape(S, P, I, P), in_SI).reshape(S * P, S * P)
    inner_QQ = (inner_QQ + inner_QQ.T) / 2
    root = whitening(inner_QQ)
    # W G P^T (P G P^T)^-1 through the root L: (W G P^T) L^-T L^-1.
    half_OK = root.unwhiten(torch.eye(root.root_IK.shape[1], dtype=torch.float64)) @ cross_OQ.T
    core_OQ = root.unwhiten(half_OK.T)
    out_OR, core_RQ = decompose(core_OQ, root).cut(min(rank_out, S * P))
    short = rank_out - out_OR.shape[1]
    out_OR = torch.nn.functional.pad(out_OR, (0, short))
    core_RQ = torch.nn.functional.pad(core_RQ, (0, 0, 0, short))
    return Tucker2(out_OR, core_RQ.reshape(rank_out, S, P), in_SI)
