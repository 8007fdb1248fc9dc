"""Second moments of a layer's inputs, and their square roots. Legend: N rows, I in, K rank of the moment, R rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from paring.errors import LayerError

CHUNK_ROWS = 4096  # rows turned to float64 at a time, so that memory stays O(I^2)


class Moments:
    """Count, mean and second moment of rows seen so far, in float64: O(I^2) memory however many rows.

    Example: `moments = Moments(64); moments.add_(X)` with X (1000, 64) -> moments.second_II (64, 64).
    """

    def __init__(self, num_in: int) -> None:
        self.count = 0
        self._total_I = torch.zeros(num_in, dtype=torch.float64)
        self._products_II = torch.zeros(num_in, num_in, dtype=torch.float64)

    def add_(self, X_NI: Tensor) -> None:
        """Takes in more rows, (n, in), any float type. Raises LayerError if one holds NaN or infinity."""
        if not torch.isfinite(X_NI).all():
            raise LayerError("NaN or infinity")
        for rows_NI in torch.split(X_NI.detach().cpu(), CHUNK_ROWS):
            wide_NI = rows_NI.double()
            self._total_I += wide_NI.sum(0)
            array = wide_NI.numpy()
            self._products_II += torch.from_numpy(array.T @ array)  # NumPy sees X^T X and computes half of it
        self.count += len(X_NI)

    @property
    def num_bytes(self) -> int:
        """What they take in memory."""
        return self._total_I.nbytes + self._products_II.nbytes

    @property
    def mean_I(self) -> Tensor:
        """`E[x]`, (in,)."""
        return self._total_I / max(self.count, 1)

    @property
    def second_II(self) -> Tensor:
        """`G = E[x x^T]`, (in, in)."""
        return self._products_II / max(self.count, 1)

    @property
    def covariance_II(self) -> Tensor:
        """`E[x x^T] - E[x] E[x]^T`, (in, in): what is left to fit once the bias takes care of the mean."""
        return self.second_II - torch.outer(self.mean_I, self.mean_I)


@dataclass(frozen=True)
class Whitening:
    """A square root of a second moment, `G = L L^T`, and the way back through it; made when it is first asked for."""

    G_II: Tensor

    @property
    def root_IK(self) -> Tensor:
        """L: lower triangular (Cholesky, K = I) where G is well-conditioned, else scaled eigenvectors."""
        return self._roots[0]

    @property
    def inverse_KI(self) -> Tensor | None:
        """The pseudo-inverse of L, where it is not triangular: directions that the data never took count as nothing."""
        return self._roots[1]

    @cached_property
    def _roots(self) -> tuple[Tensor, Tensor | None]:
        root_II, failed = torch.linalg.cholesky_ex(self.G_II)
        if not failed:
            pivots_I = root_II.diagonal() ** 2
            if float(pivots_I.min()) > 1e-10 * float(self.G_II.diagonal().max()):
                return root_II, None
        values_I, vectors_II = torch.linalg.eigh(self.G_II)
        kept = values_I > len(values_I) * torch.finfo(torch.float64).eps * values_I[-1]
        scale_K, vectors_IK = values_I[kept].sqrt(), vectors_II[:, kept]
        return vectors_IK * scale_K, (vectors_IK / scale_K).T

    def unwhiten(self, V_RK: Tensor) -> Tensor:
        """`V L^-1`, (rank, in), by solving the triangular system or by the pseudo-inverse."""
        root_IK, inverse_KI = self._roots
        if inverse_KI is not None:
            return V_RK @ inverse_KI
        solved_RI: Tensor = torch.linalg.solve_triangular(root_IK, V_RK, upper=False, left=False)
        return solved_RI


def whitening(G_II: Tensor) -> Whitening:
    """The square root of a second moment.

    Args: G_II: symmetric positive semi-definite, (in, in), float64.
    Raises: LayerError if G holds NaN or infinity, or is all zero.
    """
    if not torch.isfinite(G_II).all():
        raise LayerError("NaN or infinity")
    if not G_II.any():
        raise LayerError("zero on all the data")
    return Whitening(G_II)
