"""Tucker-2 and the spatial split: exact at full rank, bounded, and better for the data when told of the data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from paring.errors import LayerError, ShapeError
from paring.numerics.factor import decompose, output_loss
from paring.numerics.hessian import whitening
from paring.numerics.tucker import (
    channel_moment,
    hooi,
    hosvd,
    kernel_loss,
    spatial_kernels,
    spatial_parts,
    unfoldings,
    whitened_tucker,
)


def kernel(num_out: int = 10, num_in: int = 8, size: int = 9, seed: int = 0) -> Tensor:
    return torch.randn(num_out, num_in, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moment(length: int, num_rows: int = 400, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(num_rows, length, generator=generator, dtype=torch.float64)
    X = X @ torch.randn(length, length, generator=generator, dtype=torch.float64) * torch.linspace(2, 0.01, length)
    return X.T @ X / num_rows


@pytest.mark.parametrize("method", [hosvd, hooi])
@pytest.mark.parametrize("shape", [(10, 8, 9), (12, 1, 9), (3, 7, 1)])
def test_full_ranks_are_exact(method, shape: tuple[int, int, int]) -> None:  # type: ignore[no-untyped-def]
    W = kernel(*shape)
    assert torch.allclose(method(W, shape[0], shape[1]).full(), W, atol=1e-12)


@pytest.mark.parametrize("num_rows", [400, 20])
def test_whitened_full_ranks_lose_nothing_on_the_data(num_rows: int) -> None:
    W, G = kernel(), moment(72, num_rows)
    assert kernel_loss(W, whitened_tucker(W, G, 10, 8).full(), G) <= 1e-9 * kernel_loss(W, 0 * W, G)


@pytest.mark.parametrize("ranks", [(1, 1), (3, 4), (10, 2), (5, 8)])
def test_errors_stand_in_the_order_that_theory_gives(ranks: tuple[int, int]) -> None:
    W = kernel()
    discarded = [decompose(over).loss(rank) for over, rank in zip(unfoldings(W), ranks, strict=True)]
    plain, refined = ((W - method(W, *ranks).full()).square().sum().item() for method in (hosvd, hooi))
    assert max(discarded) - 1e-9 <= refined <= plain + 1e-9 <= sum(discarded) + 2e-9


@pytest.mark.parametrize("ranks", [(1, 1), (3, 4), (10, 2), (5, 8)])
def test_whitened_beats_plain_on_the_data(ranks: tuple[int, int]) -> None:
    W, G = kernel(), moment(72)
    losses = [kernel_loss(W, method(W, *ranks).full(), G) for method in (hosvd, hooi)]
    assert kernel_loss(W, whitened_tucker(W, G, *ranks).full(), G) <= min(losses)


def test_whitened_with_every_in_channel_is_the_whitened_svd() -> None:
    W, G = kernel(), moment(72)
    parts = decompose(W.flatten(1), whitening(G))
    assert kernel_loss(W, whitened_tucker(W, G, 4, 8).full(), G) == pytest.approx(parts.loss(4), rel=1e-6)


def test_sweeps_never_lose() -> None:
    W, G = kernel(seed=4), moment(72, seed=5)
    losses = [kernel_loss(W, whitened_tucker(W, G, 4, 3, sweeps).full(), G) for sweeps in range(4)]
    assert losses == sorted(losses, reverse=True)


def test_kernel_loss_is_the_output_loss_of_its_matrix() -> None:
    W, G = kernel(), moment(72)
    A, B = decompose(W.flatten(1)).cut(3)
    assert kernel_loss(W, (A @ B).reshape(W.shape), G) == pytest.approx(output_loss(W.flatten(1), A, B, G))


def test_channel_moment_sums_over_positions() -> None:
    X = torch.randn(30, 4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    G = X.flatten(1).T @ X.flatten(1)
    assert torch.allclose(channel_moment(G, 4), torch.einsum("nip,njp->ij", X, X))


@pytest.mark.parametrize("ranks", [(0, 1), (1, 0), (11, 1), (1, 9)])
@pytest.mark.parametrize("method", ["hosvd", "hooi", "whitened"])
def test_ranks_outside_the_kernel_are_refused(ranks: tuple[int, int], method: str) -> None:
    with pytest.raises(ShapeError, match=r"1\.\.channels"):
        fit(method, kernel(), *ranks)


@pytest.mark.parametrize("method", ["hosvd", "hooi", "whitened"])
def test_nan_is_refused_and_zeros_stay_zeros(method: str) -> None:
    with pytest.raises(LayerError, match="NaN"):
        fit(method, kernel() * torch.nan, 2, 2)
    assert not fit(method, kernel() * 0, 2, 2).any()


def fit(method: str, W: Tensor, rank_out: int, rank_in: int) -> Tensor:
    if method == "whitened":
        return whitened_tucker(W, moment(72), rank_out, rank_in).full()
    return {"hosvd": hosvd, "hooi": hooi}[method](W, rank_out, rank_in).full()


@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (4, 3, 5, 3), (2, 1, 3, 2)])
def test_the_spatial_split_is_exact_at_full_rank_and_loses_the_discarded_spectrum(
    shape: tuple[int, int, int, int],
) -> None:
    W = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = spatial_parts(W)
    x = torch.randn(2, shape[1], 9, 8, dtype=torch.float64)
    full = min(shape[0] * shape[3], shape[1] * shape[2])
    column, row = spatial_kernels(parts, full, shape)
    assert torch.allclose(functional.conv2d(functional.conv2d(x, column), row), functional.conv2d(x, W), atol=1e-10)
    column, row = spatial_kernels(parts, 1, shape)
    joined = torch.einsum("rihz,orzw->oihw", column, row)
    assert (W - joined).square().sum().item() == pytest.approx(parts.loss(1))
