"""Grids of integers: rounding errors bounded by half a step, groups, clipping, edge cases."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.errors import LayerError, ShapeError
from paring.numerics.grid import Grid, choose_grid


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 5),
    groups=st.integers(1, 4),
    size=st.integers(2, 8),
    num_bits=st.sampled_from([2, 3, 4, 8]),
    symmetric=st.booleans(),
    scale=st.floats(1e-6, 1e6),
    seed=st.integers(0, 99),
)
def test_what_is_not_clipped_is_off_by_half_a_step_at_most(
    rows: int, groups: int, size: int, num_bits: int, symmetric: bool, scale: float, seed: int
) -> None:
    W_OI = scale * torch.randn(rows, groups * size, generator=torch.Generator().manual_seed(seed))
    grid = choose_grid(W_OI, num_bits, group_size=size, symmetric=symmetric)
    assert grid.scale_OG.shape == (rows, groups)
    q_OI = grid.nearest(W_OI)
    assert q_OI.dtype == torch.int8
    assert int(q_OI.min()) >= grid.quant_min and int(q_OI.max()) <= grid.quant_max
    step_OI, _ = grid.spread(groups * size)
    # An affine grid's zero point is rounded too: half a step more at its ends.
    limit = 0.5 if symmetric else 1.0
    assert ((grid.values(q_OI) - W_OI).abs() <= limit * step_OI * (1 + 1e-4)).all()


def test_a_worked_example() -> None:
    W_OI = torch.tensor([[0.7, -0.35, 0.1, 0.0], [0.0, 0.0, 14.0, -7.0]])
    grid = choose_grid(W_OI, 4, group_size=2)
    assert torch.allclose(grid.scale_OG, torch.tensor([[0.1, 0.1 / 7], [1.0, 2.0]]))
    assert grid.nearest(W_OI).tolist() == [[7, -4, 7, 0], [0, 0, 7, -4]]  # -3.5 goes to even


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("num_bits", [2, 3, 4])
def test_clipping_lowers_the_squared_error_it_minimises(num_bits: int, symmetric: bool) -> None:
    torch.manual_seed(0)
    W_OI = torch.randn(16, 64)
    importance_I = torch.rand(64) + 0.1

    def error(grid: Grid) -> float:
        return float(((grid.values(grid.nearest(W_OI)) - W_OI) ** 2 * importance_I).sum())

    plain = choose_grid(W_OI, num_bits, symmetric=symmetric)
    clipped = choose_grid(W_OI, num_bits, symmetric=symmetric, clip=True, importance_I=importance_I)
    assert error(clipped) < error(plain)


@pytest.mark.parametrize("symmetric", [True, False])
def test_zero_rows_stay_zero(symmetric: bool) -> None:
    W_OI = torch.zeros(2, 8)
    W_OI[1] = 3.0
    grid = choose_grid(W_OI, 4, symmetric=symmetric, clip=True)
    values = grid.values(grid.nearest(W_OI))
    assert torch.allclose(values, W_OI) and torch.isfinite(grid.scale_OG).all()


def test_what_cannot_be_rounded_is_said() -> None:
    with pytest.raises(ShapeError, match=r"its 10 inputs are not a multiple of group_size 4\. Use .*PerGroup\(2\)"):
        choose_grid(torch.zeros(3, 10), 4, group_size=4)
    for bad in (math.nan, math.inf):
        with pytest.raises(LayerError, match="NaN or infinity"):
            choose_grid(torch.full((2, 2), bad), 4)
