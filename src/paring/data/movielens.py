"""MovieLens latest-small (Harper & Konstan 2015): 100,836 ratings of 9,724 films by 610 people, 0.5 to 5 stars."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paring.data.files import find_file
from paring.errors import CorruptFileError

RATINGS = (
    "movielens-latest-small/ratings.csv",
    "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
)


@dataclass(frozen=True)
class Ratings:
    """`users`, `movies` (n,) int64, numbered from 0 in sorted order, and `stars` (n,) float32."""

    users: Tensor
    movies: Tensor
    stars: Tensor
    num_users: int
    num_movies: int

    def __len__(self) -> int:
        return len(self.stars)

    def rows(self, chosen: Tensor) -> Ratings:
        """Those ratings only."""
        return Ratings(self.users[chosen], self.movies[chosen], self.stars[chosen], self.num_users, self.num_movies)


def movielens(data: str | Path | None = None) -> Ratings:
    """All ratings. Raises TaskError, CorruptFileError."""
    path = find_file(*RATINGS, data)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(int(one["userId"]), int(one["movieId"]), float(one["rating"])) for one in csv.DictReader(file)]
    except (KeyError, ValueError) as error:
        raise CorruptFileError(f"{path}: holds no ratings ({error}). Fetch it again.") from error
    users, movies = (
        {value: place for place, value in enumerate(sorted({row[side] for row in rows}))} for side in (0, 1)
    )
    return Ratings(
        torch.tensor([users[row[0]] for row in rows]),
        torch.tensor([movies[row[1]] for row in rows]),
        torch.tensor([row[2] for row in rows]),
        len(users),
        len(movies),
    )


def made_ratings(num_users: int = 120, num_movies: int = 300, num_rows: int = 9_000, seed: int = 0) -> Ratings:
    """Ratings drawn here, for where MovieLens is not: biases, four tastes, noise. Some films are rated more often."""
    draw = torch.Generator().manual_seed(seed)
    appeal = torch.arange(1, num_movies + 1).float().pow(-0.6)
    users = torch.randint(0, num_users, (3 * num_rows,), generator=draw)
    movies = torch.multinomial(appeal, 3 * num_rows, replacement=True, generator=draw)
    _, first = torch.unique(users * num_movies + movies, return_inverse=True)
    once = torch.zeros(int(first.max()) + 1, dtype=torch.long).scatter_(0, first, torch.arange(len(first)))
    chosen = once[torch.randperm(len(once), generator=draw)][:num_rows]
    users, movies = users[chosen], movies[chosen]

    def normal(*shape: int, spread: float = 1.0) -> Tensor:
        return spread * torch.randn(*shape, generator=draw)

    bias = normal(num_users, spread=0.4)[users] + normal(num_movies, spread=0.5)[movies]
    taste = (normal(num_users, 4, spread=0.6)[users] * normal(num_movies, 4, spread=0.6)[movies]).sum(1)
    stars = (3.5 + bias + taste + normal(len(users), spread=0.6)).clamp(0.5, 5).mul(2).round().div(2)
    return Ratings(users, movies, stars, num_users, num_movies)
