"""Rounding that looks at the inputs: against exhaustive search, and never worse than what it starts from."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from paring.errors import LayerError
from paring.numerics.grid import Grid, choose_grid
from paring.numerics.rounding import damped, descend, layer_error, learned_round, obs_round


def correlated(num_in: int, seed: int = 0, samples: int = 400) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(num_in, num_in, generator=generator).double()
    X_NI = torch.randn(samples, num_in, generator=generator).double() @ mix
    return X_NI.T @ X_NI / samples


def layer(seed: int, rows: int = 8, num_in: int = 32, num_bits: int = 3) -> tuple[Tensor, Tensor, Grid]:
    W_OI = torch.randn(rows, num_in, generator=torch.Generator().manual_seed(seed))
    return W_OI, correlated(num_in, seed), choose_grid(W_OI, num_bits)


def total(W_OI: Tensor, q_OI: Tensor, H_II: Tensor, grid: Grid) -> float:
    return float(layer_error(W_OI, grid.values(q_OI), H_II).sum())


def test_layer_error_is_the_error_of_the_outputs() -> None:
    torch.manual_seed(0)
    X_NI, W_OI, Q_OI = torch.randn(50, 6).double(), torch.randn(3, 6).double(), torch.randn(3, 6).double()
    expected_O = ((X_NI @ (W_OI - Q_OI).T) ** 2).mean(0)
    assert torch.allclose(layer_error(W_OI, Q_OI, X_NI.T @ X_NI / 50), expected_O)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_bits", [2, 3, 4])
def test_each_method_beats_nearest_and_descent_never_hurts(seed: int, num_bits: int) -> None:
    W_OI, H_II, grid = layer(seed, num_bits=num_bits)
    nearest = total(W_OI, grid.nearest(W_OI), H_II, grid)
    by_columns = obs_round(W_OI, H_II, grid)
    learned = learned_round(W_OI, H_II, grid, steps=150)
    assert total(W_OI, by_columns, H_II, grid) < nearest
    assert total(W_OI, learned, H_II, grid) < nearest
    for q_OI in (by_columns, learned, grid.nearest(W_OI)):
        better = descend(q_OI, W_OI, H_II, grid)
        assert total(W_OI, better, H_II, grid) <= total(W_OI, q_OI, H_II, grid) + 1e-9
        assert int(better.min()) >= grid.quant_min and int(better.max()) <= grid.quant_max


@pytest.mark.parametrize("seed", range(3))
def test_descent_ends_where_no_single_weight_can_move(seed: int) -> None:
    W_OI, H_II, grid = layer(seed, rows=2, num_in=6, num_bits=2)
    q_OI = descend(grid.nearest(W_OI), W_OI, H_II, grid, sweeps=50)
    at_rest = layer_error(W_OI, grid.values(q_OI), H_II)
    for column, value in product(range(6), range(grid.quant_min, grid.quant_max + 1)):
        moved = q_OI.clone()
        moved[:, column] = value
        assert (layer_error(W_OI, grid.values(moved), H_II) >= at_rest - 1e-9).all()


def test_close_to_the_best_of_all_on_a_row_small_enough_to_try_all() -> None:
    W_OI, H_II, grid = layer(5, rows=1, num_in=7, num_bits=2)
    every = torch.tensor(list(product(range(grid.quant_min, grid.quant_max + 1), repeat=7)), dtype=torch.int8)
    wide = Grid(grid.scale_OG.expand(len(every), 1), None, grid.quant_min, grid.quant_max)
    best = float(layer_error(W_OI.expand(len(every), -1), wide.values(every), H_II).min())
    ours = total(W_OI, descend(obs_round(W_OI, H_II, grid), W_OI, H_II, grid, sweeps=20), H_II, grid)
    nearest = total(W_OI, grid.nearest(W_OI), H_II, grid)
    assert best <= ours <= best + 0.25 * (nearest - best)


def test_uncorrelated_inputs_leave_nothing_to_mend() -> None:
    W_OI, _, grid = layer(1)
    q_OI = obs_round(W_OI, torch.eye(32).double(), grid)
    assert torch.equal(q_OI, grid.nearest(W_OI))


def test_columns_beyond_one_block_and_dead_inputs() -> None:
    W_OI = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    H_II = correlated(300, samples=1200)
    H_II[7], H_II[:, 7] = 0, 0
    grid = choose_grid(W_OI, 4)
    for ordered in (True, False):
        q_OI = obs_round(W_OI, H_II, grid, ordered=ordered)
        assert total(W_OI, q_OI, H_II, grid) < total(W_OI, grid.nearest(W_OI), H_II, grid)
    assert torch.equal(damped(H_II, 0.01)[7], torch.eye(300).double()[7])
    with pytest.raises(LayerError, match="inputs hold NaN"):
        damped(torch.full((2, 2), float("nan")), 0.01)


def test_same_layer_same_integers() -> None:
    W_OI, H_II, grid = layer(3)
    assert torch.equal(learned_round(W_OI, H_II, grid, steps=50), learned_round(W_OI, H_II, grid, steps=50))
