"""Nets that foretell ratings: users (b,) and movies (b,), both int64, to stars (b,)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from paring.data.movielens import Ratings
from paring.numerics.factor import decompose
from paring.numerics.ratings import biases, neighbours, similarities


class Biases(nn.Module):
    """The mean, and how far each user and each film lies from it."""

    def __init__(self, ratings: Ratings) -> None:
        super().__init__()
        mean, user, movie = biases(ratings.users, ratings.movies, ratings.stars, ratings.num_users, ratings.num_movies)
        self.mean = mean
        self.user = _known(user[:, None], learns=False)
        self.movie = _known(movie[:, None], learns=False)

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        stars: Tensor = self.mean + (self.user(users) + self.movie(movies))[:, 0]
        return stars


class Factors(nn.Module):
    """Biases, and the product of what a user likes with what a film has (Koren 2009)."""

    def __init__(self, start: Biases, dim: int) -> None:
        super().__init__()
        self.start = start
        self.user = _table(start.user.num_embeddings, dim)
        self.movie = _table(start.movie.num_embeddings, dim)

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        stars: Tensor = self.start(users, movies) + (self.user(users) * self.movie(movies)).sum(1)
        return stars


class Neural(nn.Module):
    """Biases, and a deep net over embeddings that begin as a factorization's (He et al. 2017, arXiv:1708.05031)."""

    def __init__(
        self, start: Biases, factors: Factors, widths: tuple[int, ...] = (128, 64), dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.start = start
        self.user = _known(factors.user.weight, learns=True)
        self.movie = _known(factors.movie.weight, learns=True)
        dim = self.user.embedding_dim
        layers: list[nn.Module] = []
        for num_in, num_out in pairwise((3 * dim, *widths)):
            layers += [nn.Linear(num_in, num_out), nn.ReLU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        u, m = self.user(users), self.movie(movies)
        stars: Tensor = self.start(users, movies) + self.head(self.body(torch.cat([u, m, u * m], 1)))[:, 0]
        return stars


class AlikeMovies(nn.Module):
    """Biases, and how the user rated films like this one (Sarwar et al. 2001): tables, and nothing to train.

    `residual` (users, movies) is what the biases leave, as `left_over` gives it; several of these share one.
    """

    rated: Tensor
    places: Tensor
    sizes: Tensor

    def __init__(self, start: Biases, residual: Tensor, count: int = 100, shrink: float = 10.0) -> None:
        super().__init__()
        self.start = start
        places, sizes = neighbours(residual.T.contiguous(), min(count, residual.shape[1] - 1), shrink)
        self.shrink = shrink / 10
        self.register_buffer("rated", residual)
        self.register_buffer("places", places)
        self.register_buffer("sizes", sizes)

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        rated = self.rated[users[:, None], self.places[movies]]
        weight = self.sizes[movies] * (rated != 0)
        stars: Tensor = self.start(users, movies) + (weight * rated).sum(1) / (weight.sum(1) + self.shrink)
        return stars


class AlikeUsers(nn.Module):
    """Biases, and how users like this one rated the film (Resnick et al. 1994)."""

    rated: Tensor
    sizes: Tensor

    def __init__(self, start: Biases, residual: Tensor, shrink: float = 10.0, power: float = 2.0) -> None:
        super().__init__()
        self.start = start
        alike = similarities(residual, torch.arange(len(residual)), shrink).clamp_min(0)
        self.shrink = shrink / 100
        self.register_buffer("rated", residual.T.contiguous())
        self.register_buffer("sizes", alike**power)

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        rated = self.rated[movies]
        weight = self.sizes[users] * (rated != 0)
        stars: Tensor = self.start(users, movies) + (weight * rated).sum(1) / (weight.sum(1) + self.shrink)
        return stars


class Ensemble(nn.Module):
    """A weighted sum of all members' stars, and a constant: one module, so that one file is exported and timed."""

    weights: Tensor

    def __init__(self, members: Sequence[nn.Module], weights: Tensor, constant: float) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.constant = constant
        self.register_buffer("weights", weights.float())

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        stars = torch.stack([member(users, movies) for member in self.members], 1)
        return (stars * self.weights).sum(1) + self.constant


class DotNet(nn.Module):
    """The student: one table for users and films, and one product. Biases are two of its columns.

    The mean is added last; column -2 is a film's bias (1 for users), column -1 a user's (1 for films).
    """

    offset: Tensor

    def __init__(self, start: Biases, dim: int) -> None:
        super().__init__()
        num_users, num_movies = start.user.num_embeddings, start.movie.num_embeddings
        self.num_users = num_users
        self.mean = start.mean
        self.table = _table(num_users + num_movies, dim + 2)
        with torch.no_grad():
            weight = self.table.weight
            weight[:num_users, -2], weight[num_users:, -2] = 1, start.movie.weight[:, 0]
            weight[:num_users, -1], weight[num_users:, -1] = start.user.weight[:, 0], 1

    def forward(self, users: Tensor, movies: Tensor) -> Tensor:
        """Stars."""
        stars: Tensor = (self.table(users) * self.table(movies + self.num_users)).sum(1) + self.mean
        return stars


@torch.no_grad()
def closest(ensemble: nn.Module, start: Biases, ratings: Ratings, dim: int) -> DotNet:
    """The student that answers most nearly what the ensemble does, solved for: no step of training.

    What the ensemble says beyond the biases is a matrix of users by films; the best product of `dim` columns, each
    entry weighted by how often its user and its film occur in the ratings, is its weighted singular value
    decomposition.
    """
    student = DotNet(start, dim)
    rest = torch.stack([_answers(ensemble, start, user) for user in range(ratings.num_users)])
    often_U, often_M = (
        (torch.bincount(of, minlength=count) + 1).double().sqrt()
        for of, count in zip((ratings.users, ratings.movies), rest.shape, strict=True)
    )
    left_UD, right_DM = decompose(rest.double() * often_U[:, None] * often_M).cut(dim)
    student.table.weight[: ratings.num_users, :dim] = (left_UD / often_U[:, None]).float()
    student.table.weight[ratings.num_users :, :dim] = (right_DM / often_M).T.float()
    return student


def _answers(ensemble: nn.Module, start: Biases, user: int) -> Tensor:
    films = torch.arange(start.movie.num_embeddings)
    users = torch.full_like(films, user)
    rest: Tensor = ensemble(users, films) - start(users, films)
    return rest


def left_over(start: Biases, ratings: Ratings) -> Tensor:
    """(users, movies): what the biases leave of each rating, 0 where there is none."""
    with torch.no_grad():
        rest = ratings.stars - start(ratings.users, ratings.movies)
    table = torch.zeros(ratings.num_users, ratings.num_movies)
    table[ratings.users, ratings.movies] = rest
    return table


def _known(weight: Tensor, *, learns: bool) -> nn.Embedding:
    table = nn.Embedding(*weight.shape)
    table.weight = nn.Parameter(weight.detach().clone(), requires_grad=learns)
    return table


def _table(count: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(count, dim)
    nn.init.normal_(table.weight, std=0.1)
    return table
