"""Exact counts, ties by index, norms against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.numerics.importance import (
    channel_norms,
    count_of,
    group_importance,
    lowest,
    magnitude,
    sparsity_masks,
)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    sparsity=st.floats(0.01, 0.99),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_sparsity_is_hit_exactly_whatever_the_ties(sizes: list[int], sparsity: float, levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = [torch.randint(0, levels, (size, 2), generator=generator).float() for size in sizes]
    together = sparsity_masks(scores, sparsity, "global")
    assert sum(int((~mask).sum()) for mask in together) == count_of(sparsity, 2 * sum(sizes))
    kept = torch.cat([score[mask] for score, mask in zip(scores, together, strict=True)])
    gone = torch.cat([score[~mask] for score, mask in zip(scores, together, strict=True)])
    assert not len(kept) or not len(gone) or gone.max() <= kept.min()
    for score, mask in zip(scores, sparsity_masks(scores, sparsity, "layer"), strict=True):
        assert int((~mask).sum()) == count_of(sparsity, score.numel())


def test_of_equal_scores_the_first_go() -> None:
    assert lowest(torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 2.0]]), 3).tolist() == [
        [True, True, True],
        [False, False, False],
    ]


def test_what_is_gone_counts_and_stays_gone() -> None:
    score = torch.tensor([-1.0, 5.0, 1.0, -1.0])
    assert sparsity_masks([score], 0.5, "layer")[0].tolist() == [False, True, True, False]
    assert sparsity_masks([score], 0.75, "global")[0].tolist() == [False, True, False, False]
    assert sparsity_masks([score], 0.25, "layer")[0].tolist() == [False, True, True, False]
    assert sparsity_masks([], 0.5, "global") == []


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("dim", [0, 1])
def test_channel_norms_are_the_norms_of_the_parts(norm: str, dim: int) -> None:
    W = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))
    indices = ((0, 3), (2,), (), (1,))
    found = channel_norms(W, dim, indices, norm)  # type: ignore[arg-type]
    order = {"l1": 1, "l2": 2}[norm]
    wanted = [
        torch.linalg.vector_norm(W.index_select(dim, torch.tensor(own)).double(), order) for own in indices if own
    ]
    assert found[2] == 0
    assert torch.allclose(found[[0, 1, 3]], torch.stack(wanted))


def test_group_importance_does_not_depend_on_scale_and_survives_zeros() -> None:
    first, second = torch.tensor([1.0, 3.0]).double(), torch.tensor([3.0, 1.0]).double()
    assert torch.allclose(group_importance([first, 1000 * second]), torch.ones(2).double())
    assert torch.isfinite(group_importance([torch.zeros(3).double()])).all()


def test_magnitude_is_at_least_float32() -> None:
    assert magnitude(torch.tensor([-2.0], dtype=torch.bfloat16)).dtype == torch.float32
    assert magnitude(torch.tensor([-2.0], dtype=torch.float64)).item() == 2.0
