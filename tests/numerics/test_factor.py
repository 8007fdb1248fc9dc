"""Whitened and weighted decompositions against their own definitions and against brute force."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from paring.errors import LayerError, ShapeError
from paring.numerics.factor import decompose, output_loss, table_parts, truncated_svd
from paring.numerics.hessian import whitening


def problem(num_out: int, num_in: int, num_rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """(weight, second moment of inputs of very different scales)."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(num_out, num_in, generator=generator, dtype=torch.float64)
    mixing = torch.randn(num_in, num_in, generator=generator, dtype=torch.float64)
    X = torch.randn(num_rows, num_in, generator=generator, dtype=torch.float64) @ mixing
    X *= torch.logspace(0, -2, num_in, dtype=torch.float64)
    return W, X.T @ X / num_rows


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_predicted_loss_is_measured_and_plain_never_beats_whitened(
    num_out: int, num_in: int, num_rows: int, seed: int
) -> None:
    W, G = problem(num_out, num_in, num_rows, seed)
    parts, total = decompose(W, whitening(G)), float(((W @ G) * W).sum())
    for rank in range(1, min(num_out, num_in) + 1):
        measured = output_loss(W, *parts.cut(rank), G)
        assert measured == pytest.approx(parts.loss(rank), rel=1e-6, abs=1e-9 * total)
        assert measured <= output_loss(W, *truncated_svd(W, rank), G) + 1e-9 * total
    assert output_loss(W, *parts.cut(min(num_out, num_in)), G) == pytest.approx(0, abs=1e-9 * total)


@pytest.mark.parametrize("num_rows", [3, 12, 400])
def test_a_wide_matrix_has_the_parts_that_a_root_gives(num_rows: int) -> None:
    W, G = problem(6, 12, num_rows, 4)
    weight = torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    root = whitening(G)
    U, S, Vh = torch.linalg.svd((weight[:, None] * W) @ root.root_IK, full_matrices=False)
    kept = min(num_rows, 6)
    parts = decompose(W, root, weight)
    assert torch.allclose(parts.S_K, S[:kept], rtol=1e-6)
    for rank in range(1, kept):
        by_root = (U[:, :rank] / weight[:, None] * S[:rank]) @ root.unwhiten(Vh[:rank])
        seen = (torch.matmul(*parts.cut(rank)) - by_root) @ root.root_IK  # alike wherever the data goes
        assert float(seen.norm()) < 1e-6 * float((W @ root.root_IK).norm())


def test_a_wide_matrix_whose_outputs_are_always_zero_keeps_nothing() -> None:
    G = torch.zeros(8, 8, dtype=torch.float64)
    G[0, 0] = 1.0
    W = torch.randn(3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    W[:, 0] = 0.0
    A, B = decompose(W, whitening(G)).cut(2)
    assert torch.isfinite(A).all() and torch.isfinite(B).all() and not (A @ B)[:, 0].any()


def test_no_descent_from_the_whitened_factors_finds_less_loss() -> None:
    W, G = problem(6, 8, 40, 3)
    parts = decompose(W, whitening(G))
    A, B = (
        factor.contiguous().clone(memory_format=torch.contiguous_format).requires_grad_() for factor in parts.cut(2)
    )
    optimizer = torch.optim.LBFGS([A, B], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        E = W - A @ B
        value = ((E @ G) * E).sum()
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    assert output_loss(W, A.detach(), B.detach(), G) >= parts.loss(2) * (1 - 1e-6)


def test_a_weighted_decomposition_is_the_best_in_its_norm() -> None:
    W, _ = problem(7, 5, 9, 1)
    weight = torch.tensor([10.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01], dtype=torch.float64)
    parts = decompose(W, weight_O=weight)
    for rank in (1, 2, 4):
        A, B = parts.cut(rank)
        weighted = (weight[:, None] * (W - A @ B)).square().sum().item()
        assert weighted == pytest.approx(parts.loss(rank), rel=1e-9)
        plain_A, plain_B = truncated_svd(W, rank)
        assert weighted <= (weight[:, None] * (W - plain_A @ plain_B)).square().sum().item()


def test_a_singular_moment_leaves_zero_parts_beyond_its_rank() -> None:
    W, G = problem(6, 8, 2, 0)
    A, B = decompose(W, whitening(G)).cut(5)
    assert A.shape == (6, 5) and B.shape == (5, 8)
    assert not A[:, 2:].any() and not B[2:].any()
    assert output_loss(W, A, B, G) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("rank", [0, 7])
def test_ranks_outside_the_matrix_are_refused(rank: int) -> None:
    W, G = problem(6, 8, 20, 0)
    with pytest.raises(ShapeError, match=r"must lie in 1\.\.6"):
        decompose(W, whitening(G)).cut(rank)


def test_nan_in_a_weight_is_refused() -> None:
    with pytest.raises(LayerError, match="NaN"):
        decompose(torch.tensor([[float("nan"), 1.0]]))
    with pytest.raises(LayerError, match="NaN"):
        table_parts(torch.tensor([[float("nan"), 1.0]]))


def test_table_parts_without_weights_are_the_svd() -> None:
    E = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    parts = table_parts(E)
    assert torch.allclose(parts.S_K, torch.linalg.svdvals(E.double()))
    assert torch.dist(E.double(), torch.matmul(*parts.cut(3))).square().item() == pytest.approx(parts.loss(3))


def test_weighted_table_parts_lose_least_on_the_common_rows() -> None:
    E = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.arange(1.0, 41.0, dtype=torch.float64) ** 3

    def loss(product: Tensor) -> float:
        return float((weight[:, None] * (E - product).square()).sum())

    weighted, plain = table_parts(E, weight), table_parts(E)
    assert loss(torch.matmul(*weighted.cut(3))) == pytest.approx(weighted.loss(3))
    assert loss(torch.matmul(*weighted.cut(3))) < loss(torch.matmul(*plain.cut(3)))


def test_a_table_of_zeros_has_zero_factors() -> None:
    table, B = table_parts(torch.zeros(5, 3)).cut(2)
    assert not (table @ B).any() and torch.isfinite(table).all()
