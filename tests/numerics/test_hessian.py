"""Second moments and their roots."""

from __future__ import annotations

import pytest
import torch

from paring.errors import LayerError
from paring.numerics.hessian import Moments, whitening


def moment(num_rows: int, num_in: int, seed: int = 0) -> torch.Tensor:
    X = torch.randn(num_rows, num_in, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return X.T @ X / num_rows


def test_moments_do_not_depend_on_how_rows_are_cut() -> None:
    X = torch.randn(9000, 5) + 2
    whole, parts = Moments(5), Moments(5)
    whole.add_(X)
    for part in torch.split(X, 1234):
        parts.add_(part)
    assert whole.count == parts.count == 9000
    assert torch.allclose(whole.second_II, X.double().T @ X.double() / 9000)
    assert torch.allclose(whole.second_II, parts.second_II, rtol=1e-12)
    assert torch.allclose(whole.covariance_II, torch.cov(X.double().T, correction=0), atol=1e-10)


def test_no_rows_are_zero_moments() -> None:
    assert not Moments(3).second_II.any() and not Moments(3).mean_I.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_refused(bad: float) -> None:
    with pytest.raises(LayerError, match="NaN or infinity"):
        Moments(2).add_(torch.tensor([[1.0, bad]]))
    with pytest.raises(LayerError, match="NaN or infinity"):
        whitening(torch.tensor([[bad, 0.0], [0.0, 1.0]], dtype=torch.float64))


def test_a_positive_definite_moment_gets_a_triangular_root() -> None:
    G = moment(50, 8)
    root = whitening(G)
    assert root.inverse_KI is None and not root.root_IK.triu(1).any()
    assert torch.allclose(root.root_IK @ root.root_IK.T, G)
    assert torch.allclose(root.unwhiten(root.root_IK), torch.eye(8, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("num_rows", [1, 3, 7])
def test_a_singular_moment_gets_a_root_as_narrow_as_its_rank(num_rows: int) -> None:
    G = moment(num_rows, 8)
    root = whitening(G)
    assert root.root_IK.shape == (8, num_rows)
    assert torch.allclose(root.root_IK @ root.root_IK.T, G)
    projector = root.root_IK @ root.unwhiten(torch.eye(num_rows, dtype=torch.float64))
    assert torch.allclose(projector @ projector, projector, atol=1e-9)


def test_an_all_zero_moment_is_refused() -> None:
    with pytest.raises(LayerError, match="zero"):
        whitening(torch.zeros(4, 4, dtype=torch.float64))
