"""K-means on a line, against the best of all partitions."""

from __future__ import annotations

import itertools

import pytest
import torch

from paring.errors import UnknownNameError
from paring.numerics.clustering import kmeans_line, nearest_centre


def error(values: torch.Tensor, centres: torch.Tensor) -> float:
    return float((values - centres[nearest_centre(values, centres)]).square().sum())


def best_error(values: torch.Tensor, num: int) -> float:
    ordered = values.sort().values
    cuts = itertools.combinations(range(1, len(ordered)), num - 1)

    def cost(bounds: tuple[int, ...]) -> float:
        parts = torch.tensor_split(ordered, bounds)
        return float(sum((part - part.mean()).square().sum() for part in parts))

    return min(cost(bounds) for bounds in cuts)


@pytest.mark.parametrize("initialization", ["linear", "density", "k-means++"])
def test_it_comes_near_the_best_partition_and_stands_still(initialization: str) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(24, generator=generator, dtype=torch.float64)
    centres = kmeans_line(values, 4, initialization=initialization, generator=generator)  # type: ignore[arg-type]
    assert torch.equal(centres, centres.sort().values)
    assert best_error(values, 4) - 1e-9 <= error(values, centres) < 1.6 * best_error(values, 4)
    place = nearest_centre(values, centres)
    means = torch.stack([values[place == k].mean() for k in range(4)])
    assert torch.allclose(means, centres)


def test_few_values_are_their_own_centres() -> None:
    values = torch.tensor([3.0, 1.0, 3.0, 1.0])
    assert kmeans_line(values, 5).tolist() == [1.0, 3.0]


def test_weights_draw_centres() -> None:
    values = torch.tensor([0.0, 1.0, 10.0])
    heavy = kmeans_line(values, 2, weights=torch.tensor([1.0, 9.0, 1.0]))
    assert heavy[0] == pytest.approx(0.9)


def test_density_puts_more_centres_where_more_values_are() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.cat((torch.randn(1000, generator=generator) * 0.1, torch.rand(50, generator=generator) * 10 + 2))
    count = {
        kind: int((kmeans_line(values, 8, initialization=kind, iterations=1).abs() < 0.5).sum())  # type: ignore[arg-type]
        for kind in ("linear", "density")
    }
    assert count["density"] > count["linear"]


def test_unknown_initialization_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        kmeans_line(torch.arange(9.0), 2, initialization="circle")  # type: ignore[arg-type]
