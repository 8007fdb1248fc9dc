"""The movies study on made-up ratings, made small; its nets against what they should answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paring.core.stream import drain
from paring.data.movielens import Ratings, made_ratings, movielens
from paring.errors import TaskError
from paring.studies import movies
from paring.studies.movies import Size, blended, movies_study, split
from paring.studies.movies_look import share_figures
from paring.studies.raters import (
    AlikeMovies,
    AlikeUsers,
    Biases,
    DotNet,
    Ensemble,
    Factors,
    Neural,
    closest,
    left_over,
)
from paring.studies.study import run_study
from tests.runs import SHORT

RATINGS = made_ratings(40, 60, 900)
TINY = Size((4,), 1, (5,), 1, 1, 4, 500)


@pytest.fixture(scope="module", name="out")
def _out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(movies, "_ratings", lambda data: (RATINGS, "made-up"))
        patch.setattr(movies, "QUICK", TINY)
        drain(run_study(movies_study(quick=True), folder / "out", SHORT, "paring study movies"))
    return folder / "out"


def test_the_ensemble_is_one_file_and_every_row_has_its_share(out: Path) -> None:
    told = json.loads((out / "results.json").read_text())
    assert [(row["part"], row["name"]) for row in told["rows"]] == [
        ("ratings", "ensemble of 4"), ("ratings", "user and item biases"), ("ratings", "student alone"),
        ("ratings", "student distilled on the ratings"), ("any pair", "ensemble of 4"),
        ("any pair", "student distilled"), ("any pair", "student solved for"),
        ("any pair", "student solved for, int8"),
    ]  # fmt: skip
    shares = {row["name"]: row["gains"] for row in told["rows"]}
    assert shares["ensemble of 4"]["kept"][0] == pytest.approx(100)
    assert shares["user and item biases"]["kept"][0] == pytest.approx(0, abs=0.1)
    assert shares["ensemble of 4"]["components"] == 4 and shares["student distilled"]["components"] == 1
    for row in told["rows"]:
        assert row["gains"]["rmse"][0] == pytest.approx(row["metric"], rel=1e-4)
    assert {claim["met"] for claim in told["claims"]} <= {True, False}
    assert (out / "other_figures" / "any-pair trade.csv").is_file()


def test_shares_are_of_the_drop_in_rmse() -> None:
    squares = {name: np.full(50, value) for name, value in (("b", 1.0), ("e", 0.64), ("s", 0.81))}
    found = share_figures(squares)
    assert found["s"]["rmse"] == pytest.approx([0.9, 0.9, 0.9]) and found["s"]["kept"] == pytest.approx([50, 50, 50])


def test_neighbourhoods_answer_the_weighted_mean_of_what_is_alike() -> None:
    start = Biases(RATINGS)
    rest = left_over(start, RATINGS)
    film, user = AlikeMovies(start, rest, 7, shrink=3.0), AlikeUsers(start, rest, shrink=3.0, power=1.0)
    users, films = RATINGS.users[:20], RATINGS.movies[:20]
    for place, (u, m) in enumerate(zip(users.tolist(), films.tolist(), strict=True)):
        near = [(film.sizes[m, k].item(), rest[u, film.places[m, k]].item()) for k in range(7)]
        weights = sum(size for size, value in near if value)
        wanted = sum(size * value for size, value in near) / (weights + film.shrink)
        assert (film(users, films) - start(users, films))[place].item() == pytest.approx(wanted, abs=1e-5)
        others = [(user.sizes[u, v].item(), rest[v, m].item()) for v in range(40)]
        weights = sum(size for size, value in others if value)
        wanted = sum(size * value for size, value in others) / (weights + user.shrink)
        assert (user(users, films) - start(users, films))[place].item() == pytest.approx(wanted, abs=1e-5)


def test_the_student_solved_for_is_the_ensemble_where_its_rank_suffices() -> None:
    start = Biases(RATINGS)
    ensemble = Factors(start, 3).eval()
    exact, short = closest(ensemble, start, RATINGS, 3), closest(ensemble, start, RATINGS, 2)
    users, films = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    users, films = users.reshape(-1), films.reshape(-1)
    with torch.no_grad():
        wanted = ensemble(users, films)
        assert torch.allclose(exact(users, films), wanted, atol=1e-5)
        often = [torch.bincount(of, minlength=n) + 1.0 for of, n in ((RATINGS.users, 40), (RATINGS.movies, 60))]
        weight = often[0][users] * often[1][films]
        found = float((weight * (short(users, films) - wanted) ** 2).sum())
        rest = ((wanted - start(users, films)) * weight.sqrt()).reshape(40, 60)
    assert found == pytest.approx(float(torch.linalg.svdvals(rest)[2] ** 2), rel=1e-3)  # no product does better


def test_a_student_of_no_factors_answers_the_biases() -> None:
    start, net = Biases(RATINGS), DotNet(Biases(RATINGS), 4)
    with torch.no_grad():
        net.table.weight[:, :4] = 0
    assert torch.allclose(net(RATINGS.users, RATINGS.movies), start(RATINGS.users, RATINGS.movies), atol=1e-6)


def test_the_blend_is_no_worse_on_validation_than_any_member() -> None:
    parts = split(RATINGS, 0)
    start = Biases(parts.train)
    factors = Factors(start, 3)
    members = [start, factors, Neural(start, factors), AlikeUsers(start, left_over(start, parts.train))]
    both = blended(members, parts.validation)
    assert isinstance(both, Ensemble)

    def error(net: torch.nn.Module) -> float:
        with torch.no_grad():
            answer = net.eval()(parts.validation.users, parts.validation.movies)
        return float((answer - parts.validation.stars).square().mean())

    assert error(both) <= min(error(one) for one in members) + 1e-3


def test_the_three_parts_are_all_ratings_once() -> None:
    parts = split(RATINGS, 1)
    pairs = [u * 60 + m for one in (parts.train, parts.validation, parts.test) for u, m in _pairs(one)]
    assert sorted(pairs) == sorted(u * 60 + m for u, m in _pairs(RATINGS)) and len(set(pairs)) == len(pairs)


def _pairs(ratings: Ratings) -> list[tuple[int, int]]:
    return list(zip(ratings.users.tolist(), ratings.movies.tolist(), strict=True))


def test_movielens_is_what_it_was_published_as() -> None:
    try:
        ratings = movielens()
    except TaskError as error:
        pytest.skip(str(error))
    assert (len(ratings), ratings.num_users, ratings.num_movies) == (100_836, 610, 9_724)
    assert (ratings.stars.min(), ratings.stars.max()) == (0.5, 5.0)


def test_without_movielens_made_up_ratings_stand_in_and_are_said_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARING_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "stand in" in movies_study(quick=True).about
    with pytest.raises(TaskError, match=r"ratings\.csv"):
        movies_study(tmp_path)
