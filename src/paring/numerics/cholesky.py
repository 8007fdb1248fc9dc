"""Cholesky factors of the inverse of a matrix that is never inverted.

With J the reversal of the axes, `J H J = L L^T` gives `H = R R^T` for the upper `R = J L J`, so that `U = R^-1` is the
upper factor of the inverse, `H^-1 = U^T U`: one factorisation and one triangular inverse instead of two and an inverse.
"""

from __future__ import annotations

import torch
from scipy.linalg.lapack import dtrtri
from torch import Tensor


def upper_root(H_II: Tensor) -> Tensor:
    """The upper triangular `R` with `H = R R^T`, (in, in), of a positive definite H, float64.

    Raises: torch.linalg.LinAlgError if H is not positive definite.
    """
    root_II: Tensor = torch.linalg.cholesky(H_II.flip(0, 1)).flip(0, 1)
    return root_II


def inverse_root(H_II: Tensor) -> Tensor:
    """The upper triangular `U` with `U^T U = H^-1`, (in, in): row j is how the columns behind j make up for its error.

    Raises: as `upper_root`.
    """
    lower_II, _ = dtrtri(upper_root(H_II).numpy().T, lower=1)  # transposed, so that U comes back row by row
    return torch.from_numpy(lower_II.T)


def inverse_root_diagonal(H_II: Tensor) -> Tensor:
    """The diagonal of `inverse_root(H)`, (in,): 1 / the spread of input j that the inputs behind it do not tell.

    Raises: as `upper_root`.
    """
    return 1 / upper_root(H_II).diagonal()
