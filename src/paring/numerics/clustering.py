"""K-means of numbers on a line. Legend: N numbers, K centres."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from paring.errors import UnknownNameError

Initialization = Literal["linear", "density", "k-means++"]


def kmeans_line(
    values: Tensor,
    num_centres: int,
    *,
    initialization: Initialization = "linear",
    weights: Tensor | None = None,
    iterations: int = 50,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Centres in ascending order, (at most num_centres,), of Lloyd's iteration; where few values differ, those.

    Args:
        values: any shape.
        initialization: "linear" spreads the first centres evenly over the range, "density" over the sorted values,
            "k-means++" draws them far apart (Arthur & Vassilvitskii 2007).
        weights: how much each value counts, same shape.
    Raises: UnknownNameError for another initialization.
    Reference: Han et al. 2016, arXiv:1510.00149, section 3.
    """
    if initialization not in get_args(Initialization):
        raise UnknownNameError("initialization", initialization, get_args(Initialization), "kmeans_line")
    sorted_N, order_N = values.detach().double().flatten().sort()
    weight_N = torch.ones_like(sorted_N) if weights is None else weights.detach().double().flatten()[order_N]
    distinct = torch.unique(sorted_N)
    if len(distinct) <= num_centres:
        few: Tensor = distinct.to(values.dtype)
        return few
    centre_K = _first(sorted_N, weight_N, num_centres, initialization, generator)
    mass_N = torch.cat((weight_N.new_zeros(1), weight_N.cumsum(0)))
    moment_N = torch.cat((weight_N.new_zeros(1), (weight_N * sorted_N).cumsum(0)))
    for _ in range(iterations):
        borders = torch.searchsorted(sorted_N, (centre_K[1:] + centre_K[:-1]) / 2)
        bounds = torch.cat((borders.new_zeros(1), borders, borders.new_full((1,), len(sorted_N))))
        mass_K, moment_K = mass_N[bounds].diff(), moment_N[bounds].diff()
        moved_K = torch.where(mass_K > 0, moment_K / mass_K.clamp_min(1e-300), centre_K).sort().values
        if torch.equal(moved_K, centre_K):
            break
        centre_K = moved_K
    return centre_K.to(values.dtype)


def nearest_centre(values: Tensor, centre_K: Tensor) -> Tensor:
    """The place of the nearest centre for each value, int64 of the values' shape; centres in ascending order."""
    place: Tensor = torch.searchsorted((centre_K[1:] + centre_K[:-1]) / 2, values.detach().contiguous())
    return place


def _first(
    sorted_N: Tensor, weight_N: Tensor, num: int, initialization: Initialization, generator: torch.Generator | None
) -> Tensor:
    if initialization == "linear":
        return torch.linspace(float(sorted_N[0]), float(sorted_N[-1]), num, dtype=sorted_N.dtype)
    if initialization == "density":
        place = (torch.arange(num) + 0.5) / num * len(sorted_N)
        return sorted_N[place.long()]
    centres = [sorted_N[int(torch.randint(len(sorted_N), (), generator=generator))]]
    distance_N = (sorted_N - centres[0]) ** 2
    for _ in range(num - 1):
        chances = (distance_N * weight_N).cumsum(0)
        drawn = torch.rand((), dtype=torch.float64, generator=generator) * chances[-1]
        centres.append(sorted_N[int(torch.searchsorted(chances, drawn).clamp_max(len(sorted_N) - 1))])
        distance_N = torch.minimum(distance_N, (sorted_N - centres[-1]) ** 2)
    return torch.stack(centres).sort().values
