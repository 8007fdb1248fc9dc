"""What ratings say without any training: biases of users and films, and who resembles whom.

Shapes: N ratings, U users, M movies, K neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paring.errors import SettingError


def biases(
    users_N: Tensor, movies_N: Tensor, stars_N: Tensor, num_users: int, num_movies: int,
    *, user_penalty: float = 5.0, movie_penalty: float = 3.0, rounds: int = 10,
) -> tuple[float, Tensor, Tensor]:  # fmt: skip
    """(mean, b_U, b_M) of least `sum (r - mean - b_u - b_m)^2 + penalties |b|^2`, by turns; who rated nothing gets 0.

    Raises: SettingError for a penalty below 0 or no round. Reference: Koren 2010, doi:10.1145/1644873.1644874.
    """
    if user_penalty < 0 or movie_penalty < 0 or rounds < 1:
        raise SettingError(
            f"biases: penalties {user_penalty}, {movie_penalty} must not be below 0, rounds {rounds} not 0."
        )
    mean = float(stars_N.mean())
    rest = stars_N - mean
    b_U, b_M = torch.zeros(num_users), torch.zeros(num_movies)
    for _ in range(rounds):
        b_M = _shrunk(rest - b_U[users_N], movies_N, num_movies, movie_penalty)
        b_U = _shrunk(rest - b_M[movies_N], users_N, num_users, user_penalty)
    return mean, b_U, b_M


def similarities(R_AB: Tensor, rows_K: Tensor, shrink: float) -> Tensor:
    """(K, A): cosine of the rows `rows_K` of R with all rows, times n / (n + shrink), n how many columns both fill.

    0 in R means not rated; a row has no similarity to itself.
    """
    filled = (R_AB != 0).float()
    dot = R_AB[rows_K] @ R_AB.T
    # Norms over the columns that both fill, so that what only one rated does not count.
    norm = ((R_AB[rows_K] ** 2) @ filled.T * (filled[rows_K] @ (R_AB**2).T)).sqrt().clamp_min(1e-9)
    both = filled[rows_K] @ filled.T
    found = dot / norm * both / (both + shrink)
    found[torch.arange(len(rows_K)), rows_K] = 0
    return found


def neighbours(R_AB: Tensor, count: int, shrink: float, *, block: int = 1024) -> tuple[Tensor, Tensor]:
    """(places (A, count) int64, similarities (A, count)) of each row's most similar rows, only positive ones kept.

    Rows with fewer than two entries resemble nothing: their similarities are 0.
    """
    known = torch.nonzero((R_AB != 0).sum(1) >= 2)[:, 0]
    places = torch.zeros(len(R_AB), count, dtype=torch.long)
    sizes = torch.zeros(len(R_AB), count)
    taken = min(count, len(known))
    among = R_AB[known]
    for part in torch.split(torch.arange(len(known)), block):
        top = similarities(among, part, shrink).topk(taken, dim=1)
        places[known[part], :taken] = known[top.indices]
        sizes[known[part], :taken] = top.values.clamp_min(0)
    return places, sizes


def _shrunk(rest_N: Tensor, of_N: Tensor, count: int, penalty: float) -> Tensor:
    total = torch.zeros(count).index_add_(0, of_N, rest_N)
    number = torch.zeros(count).index_add_(0, of_N, torch.ones_like(rest_N))
    return total / (number + penalty).clamp_min(1e-9)
