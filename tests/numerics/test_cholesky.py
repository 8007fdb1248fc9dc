"""Cholesky factors of an inverse, against the inverse itself."""

from __future__ import annotations

import pytest
import torch

from paring.numerics.cholesky import inverse_root, inverse_root_diagonal, upper_root


def positive(size: int) -> torch.Tensor:
    x = torch.randn(3 * size, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    return x.T @ x / len(x)


@pytest.mark.parametrize("size", [1, 2, 17])
def test_the_root_is_upper_and_its_square_the_matrix(size: int) -> None:
    H = positive(size)
    R = upper_root(H)
    assert torch.equal(R, R.triu())
    torch.testing.assert_close(R @ R.T, H)


@pytest.mark.parametrize("size", [1, 2, 17])
def test_the_inverse_root_is_the_upper_factor_of_the_inverse(size: int) -> None:
    H = positive(size)
    torch.testing.assert_close(inverse_root(H), torch.linalg.cholesky(torch.linalg.inv(H), upper=True))
    torch.testing.assert_close(inverse_root_diagonal(H), inverse_root(H).diagonal())


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(torch.linalg.LinAlgError):
        upper_root(-torch.eye(3, dtype=torch.float64))
