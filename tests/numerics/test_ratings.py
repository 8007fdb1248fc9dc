"""Biases against the solved normal equations; similarities against counting by hand."""

from __future__ import annotations

import pytest
import torch

from paring.errors import SettingError
from paring.numerics.ratings import biases, neighbours, similarities


def test_biases_are_those_of_the_normal_equations() -> None:
    draw = torch.Generator().manual_seed(0)
    users, movies = torch.randint(0, 6, (80,), generator=draw), torch.randint(0, 9, (80,), generator=draw)
    stars = torch.rand(80, generator=draw) * 5
    mean, user, movie = biases(users, movies, stars, 6, 9, user_penalty=2.0, movie_penalty=1.0, rounds=200)
    design = torch.zeros(80, 15, dtype=torch.float64)
    design[torch.arange(80), users] = 1
    design[torch.arange(80), 6 + movies] = 1
    penalty = torch.diag(torch.tensor([2.0] * 6 + [1.0] * 9, dtype=torch.float64))
    wanted = torch.linalg.solve(design.T @ design + penalty, design.T @ (stars.double() - stars.double().mean()))
    assert mean == pytest.approx(stars.mean().item())
    assert torch.allclose(torch.cat([user, movie]).double(), wanted, atol=1e-4)


def test_who_rated_nothing_has_no_bias() -> None:
    _, user, movie = biases(torch.tensor([0]), torch.tensor([1]), torch.tensor([4.0]), 2, 3)
    assert user[1] == 0 and movie[0] == movie[2] == 0


def test_similarity_is_the_cosine_over_what_both_rated_and_shrinks_with_little_evidence() -> None:
    R = torch.tensor([[1.0, 2.0, 0.0, 1.0], [2.0, 4.0, 5.0, 0.0], [0.0, 0.0, 3.0, -1.0]])
    found = similarities(R, torch.tensor([0, 2]), shrink=2.0)
    assert found[0, 0] == 0 and found[1, 2] == 0
    assert found[0, 1].item() == pytest.approx(1.0 * 2 / (2 + 2))  # both rated two alike, up to a factor
    assert found[0, 2].item() == pytest.approx(-1.0 * 1 / (1 + 2))
    assert found[1, 1].item() == pytest.approx(1.0 / 3)


def test_neighbours_are_the_most_similar_rows_and_rows_of_one_entry_have_none() -> None:
    draw = torch.Generator().manual_seed(1)
    R = torch.randn(7, 20, generator=draw)
    R[3] = 0
    R[3, 5] = 1.0
    places, sizes = neighbours(R, 2, shrink=1.0, block=3)
    full = similarities(R, torch.arange(7), 1.0)
    full[:, 3] = -9
    for row in (0, 1, 2, 4, 5, 6):
        assert places[row].tolist() == full[row].topk(2).indices.tolist()
        assert sizes[row].tolist() == pytest.approx(full[row].topk(2).values.clamp_min(0).tolist())
    assert sizes[3].tolist() == [0, 0]


def test_settings_are_checked() -> None:
    with pytest.raises(SettingError, match="rounds"):
        biases(torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0]), 1, 1, rounds=0)
