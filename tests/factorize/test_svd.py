"""Plain SVD: optimal by Eckart and Young, structural, reloadable."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.errors import OrderError, SettingError, ShapeError
from paring.factorize.rank import Energy, Rank, Ratio
from paring.factorize.svd import Svd
from paring.graph.edits.factorize import Factorize
from paring.graph.edits.unfuse import UnfuseAttention
from paring.numerics.factor import break_even_rank, energy_rank, truncated_svd
from paring.quantize.static import Static
from tests.nets import TASKS, vector_task


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_error_is_the_discarded_spectrum(num_out: int, num_in: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(num_out, num_in)))
    W = torch.randn(num_out, num_in, generator=torch.Generator().manual_seed(num_out * 13 + num_in)).double()
    A, B = truncated_svd(W, rank)
    assert A.shape == (num_out, rank) and B.shape == (rank, num_in)
    discarded = torch.linalg.svdvals(W)[rank:]
    assert torch.linalg.norm(W - A @ B).item() == pytest.approx(torch.linalg.norm(discarded).item(), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60))
def test_break_even_is_the_last_rank_that_saves(num_out: int, num_in: int) -> None:
    rank, dense = break_even_rank(num_out, num_in), num_out * num_in
    assert rank * (num_out + num_in) < dense <= (rank + 1) * (num_out + num_in)


def test_energy_rank_counts_squares() -> None:
    squares = torch.tensor([9.0, 4.0, 1.0])
    assert [energy_rank(squares, energy) for energy in (0.5, 0.64, 0.65, 0.93, 0.99, 1.0)] == [1, 1, 2, 3, 3, 3]
    assert energy_rank(torch.zeros(3), 0.9) == 1


@pytest.mark.parametrize("rank", [0, 5])
def test_rank_outside_the_matrix_is_refused(rank: int) -> None:
    with pytest.raises(ShapeError, match=r"it must lie in 1..4"):
        truncated_svd(torch.rand(4, 6), rank)


def test_full_energy_keeps_outputs_but_is_declined_where_it_saves_nothing() -> None:
    task = vector_task()
    candidate = compress(task, Recipe((Svd(rank=Energy(1.0)),)))
    assert candidate.edits == ()
    assert any("saves nothing" in declined.reason for declined in candidate.declined)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_factors_replace_the_layer_and_reload_bit_identical(name: str) -> None:
    task = TASKS[name]()
    before = task.predict(task.model, task.example_inputs)
    candidate = compress(task, Recipe((Svd(rank=Rank(2)),)))
    splits = [edit for edit in candidate.edits if isinstance(edit, Factorize)]
    assert splits and all(edit.rank == 2 for edit in splits)
    model, plain = rebuild(candidate, task), copy.deepcopy(task.model)
    for edit in candidate.edits:
        plain = edit.apply(plain) if isinstance(edit, UnfuseAttention) else plain
    for edit in splits:
        factors, dense = model.get_submodule(edit.layer), plain.get_submodule(edit.layer)
        expected = torch.dist(dense.weight, factors[1].weight @ factors[0].weight)
        assert expected.item() == pytest.approx(torch.linalg.svdvals(dense.weight)[2:].norm().item(), rel=1e-4)
    assert torch.equal(task.predict(task.model, task.example_inputs), before)


def test_a_layer_used_twice_is_factorized_once_for_both_uses() -> None:
    model = rebuild(compress(vector_task(), Recipe((Svd(rank=Rank(2), include=("twice",)),))), vector_task())
    assert isinstance(model.twice, nn.Sequential)


def test_orders_that_lose_the_earlier_pass_are_refused() -> None:
    with pytest.raises(OrderError, match="integer weights cannot be factorized"):
        Recipe((Static(), Svd()))


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda: Rank(0), "at least 1"), (lambda: Ratio(1.0), "(0, 1)"), (lambda: Energy(0.0), "(0, 1]")],
)
def test_choices_refuse_bad_settings(make, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError) as caught:
        make()
    assert words in str(caught.value)


def test_rank_above_full_names_the_layer() -> None:
    with pytest.raises(ShapeError, match="head: rank 40 is above the full rank 4"):
        compress(vector_task(), Recipe((Svd(rank=Rank(40), include=("head",)),)))
