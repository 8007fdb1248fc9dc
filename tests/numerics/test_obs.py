"""Optimal brain surgeon against exhaustive least squares; patterns and counts exact."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from paring.errors import SettingError, ShapeError
from paring.numerics.importance import NM, count_of, cubic, nm_mask, row_masks, saliency
from paring.numerics.obs import damped, obs_mask, refit, unit_errors


def layer(seed: int, num_out: int = 3, num_in: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    X_NI = (
        torch.randn(50, num_in, generator=generator).double()
        @ torch.randn(num_in, num_in, generator=generator).double()
    )
    W_OI = torch.randn(num_out, num_in, generator=generator).double()
    return W_OI, X_NI, damped(X_NI.T @ X_NI / 50, 1e-9)


def loss(W_OI: Tensor, Q_OI: Tensor, H_II: Tensor) -> Tensor:
    return ((W_OI - Q_OI) @ H_II * (W_OI - Q_OI)).sum(1)


def least_squares(w_I: Tensor, X_NI: Tensor, kept: tuple[int, ...]) -> Tensor:
    """By a solver that knows nothing of Hessians."""
    found = torch.linalg.lstsq(X_NI[:, list(kept)], (X_NI @ w_I)[:, None]).solution[:, 0]
    return torch.zeros_like(w_I).index_copy_(0, torch.tensor(kept), found)


@pytest.mark.parametrize("seed", range(5))
def test_refit_is_least_squares(seed: int) -> None:
    W_OI, X_NI, H_II = layer(seed)
    keep = torch.rand(W_OI.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    keep[0] = False  # a row without anything left
    Q_OI = refit(W_OI, H_II, keep)
    for row in (1, 2):
        kept = tuple(keep[row].nonzero().flatten().tolist())
        expected = least_squares(W_OI[row], X_NI, kept) if kept else torch.zeros(6).double()
        assert torch.allclose(Q_OI[row], expected, atol=1e-5)
    assert (Q_OI[~keep] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_greedy_removal_of_one_weight_is_the_best_of_all(seed: int) -> None:
    W_OI, X_NI, H_II = layer(seed)
    keep = obs_mask(W_OI, H_II, 1 / 6, order="greedy")
    ours = loss(W_OI, refit(W_OI, H_II, keep), H_II)
    for row in range(3):
        every = [
            loss(W_OI[row : row + 1], least_squares(W_OI[row], X_NI, kept)[None], H_II)[0]
            for kept in combinations(range(6), 5)
        ]
        assert torch.isclose(ours[row], torch.stack(every).min(), rtol=1e-5)


@pytest.mark.parametrize("order", ["blocks", "greedy"])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8])
def test_what_stays_makes_up_better_than_magnitude(order: str, sparsity: float) -> None:
    W_OI, _, H_II = layer(7, 16, 32)
    keep = obs_mask(W_OI, H_II, sparsity, order=order, block_size=8)  # type: ignore[arg-type]
    assert int((~keep).sum()) == count_of(sparsity, W_OI.numel())
    by_size = row_masks(W_OI.abs(), sparsity)
    ours, theirs = loss(W_OI, refit(W_OI, H_II, keep), H_II).sum(), loss(W_OI, W_OI * by_size, H_II).sum()
    refitted = loss(W_OI, refit(W_OI, H_II, by_size), H_II).sum()
    assert ours < refitted < theirs


@pytest.mark.parametrize("order", ["blocks", "greedy"])
def test_earlier_zeros_stay_and_patterns_are_exact(order: str) -> None:
    W_OI, _, H_II = layer(2, 5, 16)
    gone = torch.zeros_like(W_OI, dtype=torch.bool)
    gone[:, 3] = True
    keep = obs_mask(W_OI, H_II, 0.5, order=order, gone_OI=gone)  # type: ignore[arg-type]
    assert not keep[gone].any() and int((~keep).sum()) == 40
    for pattern in (NM(2, 4), NM(4, 8), NM(1, 4)):
        keep = obs_mask(W_OI, H_II, pattern, order=order, block_size=6, gone_OI=gone)  # type: ignore[arg-type]
        assert (keep.reshape(-1, pattern.m).sum(1) == pattern.n).all() and not keep[gone].any()
    with pytest.raises(ShapeError, match="16 inputs are not a multiple of 5"):
        obs_mask(W_OI, H_II, NM(2, 5), order=order)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=st.integers(1, 6), groups=st.integers(1, 5), n=st.integers(1, 3), m=st.integers(4, 8), ties=st.booleans())
def test_n_of_m_is_exact(rows: int, groups: int, n: int, m: int, ties: bool) -> None:
    scores = torch.zeros(rows, groups * m) if ties else torch.rand(rows, groups * m)
    keep = nm_mask(scores, NM(n, m))
    assert (keep.reshape(rows, groups, m).sum(2) == n).all()
    kept, lost = scores.masked_fill(~keep, 9).reshape(-1, m), scores.masked_fill(keep, -1).reshape(-1, m)
    assert (kept.min(1).values >= lost.max(1).values).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=st.integers(1, 7), width=st.integers(1, 9), sparsity=st.floats(0.01, 0.99), gone=st.integers(0, 3))
def test_rows_lose_alike(rows: int, width: int, sparsity: float, gone: int) -> None:
    scores = torch.rand(rows, width)
    gone = min(gone, width)
    scores[0, :gone] = -1
    keep = row_masks(scores, sparsity)
    counts = (~keep).sum(1)
    assert not keep[0, :gone].any()
    assert int(counts.sum()) == max(count_of(sparsity, rows * width), gone)
    alike = counts if int(counts[0]) > gone else counts[1:]
    assert not len(alike) or int(alike.max()) - int(alike.min()) <= 1


def exhaustive_units(W_OI: Tensor, H_II: Tensor, gone: list[int]) -> float:
    keep = torch.ones_like(W_OI, dtype=torch.bool)
    keep[:, gone] = False
    return float(loss(W_OI, refit(W_OI, H_II, keep), H_II).sum())


def test_the_first_unit_to_go_is_the_best_and_its_loss_is_exact() -> None:
    W_OI, _, H_II = layer(3, 4, 8)
    places = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]])
    found = unit_errors(W_OI, H_II, places)
    alone = [exhaustive_units(W_OI, H_II, unit.tolist()) for unit in places]
    first = int(found.argmin())
    assert first == int(torch.tensor(alone).argmin())
    assert found[first].item() == pytest.approx(alone[first], rel=1e-6)
    second = int(found.masked_fill(torch.arange(4) == first, float("inf")).argmin())
    pair = exhaustive_units(W_OI, H_II, places[[first, second]].flatten().tolist())
    assert found[second].item() == pytest.approx(max(pair - alone[first], alone[first]), rel=1e-6)


def test_an_output_that_counts_for_nothing_costs_nothing() -> None:
    W_OI, _, H_II = layer(4, 2, 4)
    places = torch.arange(4)[:, None]
    only = unit_errors(W_OI[:1], H_II, places)
    assert torch.allclose(unit_errors(W_OI, H_II, places, torch.tensor([1.0, 0.0])), only)


def test_cubic_and_saliency() -> None:
    assert (cubic(0, 0.9), cubic(1, 0.9), cubic(7, 0.9)) == (0, 0.9, 0.9)
    assert cubic(0.5, 0.8) == pytest.approx(0.8 - 0.8 / 8)
    assert saliency(torch.tensor([2.0]), torch.tensor([3.0])).item() == 6.0
    with pytest.raises(SettingError, match="nm is 4:4"):
        NM(4, 4)


def test_damping_rescues_dead_inputs() -> None:
    assert torch.equal(damped(torch.zeros(2, 2), 0.01), torch.eye(2).double())
    assert damped(torch.diag(torch.tensor([0.0, 2.0])), 0.1)[0, 0].item() == pytest.approx(0.1)
