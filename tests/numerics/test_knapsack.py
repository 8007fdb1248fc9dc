"""The knapsack against brute force, and its bound and prices against what they claim."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.errors import BudgetError, ShapeError
from paring.numerics.knapsack import lagrangian, solve, undominated

seeds = st.integers(0, 10_000)


def instance(seed: int, groups: int = 4, options: int = 4, costs: int = 2) -> tuple[list, list, np.ndarray]:
    rng = np.random.default_rng(seed)
    losses = [rng.exponential(size=options) for _ in range(groups)]
    prices = [rng.uniform(1, 10, (options, costs)) * (1, 1e6)[:costs] for _ in range(groups)]
    least, most = (np.sum([getattr(one, how)(0) for one in prices], axis=0) for how in ("min", "max"))
    return losses, prices, least + rng.uniform(0.3, 0.9, costs) * (most - least)


def brute(losses: list, costs: list, limits: np.ndarray) -> float:
    best = np.inf
    for choice in product(*(range(len(one)) for one in losses)):
        total = np.sum([one[pick] for one, pick in zip(costs, choice, strict=True)], axis=0)
        if (total <= limits).all():
            best = min(best, sum(one[pick] for one, pick in zip(losses, choice, strict=True)))
    return float(best)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 2))
def test_it_finds_what_brute_force_finds(seed: int, costs: int) -> None:
    losses, prices, limits = instance(seed, costs=costs)
    best = brute(losses, prices, limits)
    if not np.isfinite(best):
        with pytest.raises(BudgetError):
            solve(losses, prices, limits)
        return
    found = solve(losses, prices, limits)
    assert found.loss == pytest.approx(best, rel=1e-6)
    assert (found.costs_C <= limits * (1 + 1e-9)).all()
    assert found.bound <= best * (1 + 1e-9) and found.gap <= 1e-6


@settings(max_examples=60, deadline=None)
@given(seeds, st.lists(st.floats(0, 5), min_size=2, max_size=2))
def test_the_lagrangian_bounds_every_choice_at_any_prices(seed: int, raw: list[float]) -> None:
    losses, costs, limits = instance(seed)
    best = brute(losses, costs, limits)
    assert lagrangian(losses, costs, limits, np.array(raw) / (1, 1e6)) <= best + 1e-9


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_best_prices_bound_better_than_others(seed: int) -> None:
    losses, costs, limits = instance(seed, groups=12)
    try:
        found = solve(losses, costs, limits)
    except BudgetError:
        return
    at_best = lagrangian(losses, costs, limits, found.prices_C)
    for factor in (0.0, 0.5, 2.0):
        assert at_best >= lagrangian(losses, costs, limits, factor * found.prices_C) - 1e-9
    assert (found.loss - at_best) <= sum(float(np.ptp(one)) for one in losses)


def test_a_price_is_what_one_more_unit_saves() -> None:
    """Many alike groups: the relaxation is nearly exact, so the price foretells the next solution."""
    rng = np.random.default_rng(0)
    costs = [np.sort(rng.uniform(1, 10, (5, 1)), 0) for _ in range(300)]
    losses = [1 / one[:, 0] for one in costs]
    limit = np.array([1_000.0])
    first, second = (solve(losses, costs, limit + more) for more in (0, 20))
    assert first.loss - second.loss == pytest.approx(20 * first.prices_C[0], rel=0.1)


def test_a_free_cost_has_no_price() -> None:
    losses, costs, limits = instance(3)
    found = solve(losses, costs, np.array([limits[0], np.inf]))
    assert found.prices_C[1] == 0
    assert found.loss == pytest.approx(brute(losses, costs, np.array([limits[0], np.inf])))


def test_undominated_options() -> None:
    loss, costs = np.array([0.0, 1, 1, 2, 0.5]), np.array([[3.0], [2], [2], [2], [3]])
    assert undominated(loss, costs) == [0, 1]
    for dropped in (2, 3, 4):
        assert any((loss[k] <= loss[dropped]) and (costs[k] <= costs[dropped]).all() for k in (0, 1))


def test_what_does_not_fit_is_refused() -> None:
    one = [np.array([0.0, 1.0])]
    with pytest.raises(BudgetError, match=r"cost 0 is at least 2, and its limit is 1"):
        solve(one, [np.array([[3.0], [2.0]])], np.array([1.0]))
    with pytest.raises(ShapeError, match=r"group 0"):
        solve(one, [np.array([[3.0, 1.0], [2.0, 1.0]])], np.array([1.0]))
    with pytest.raises(ShapeError, match="NaN"):
        solve(one, [np.array([[np.nan], [2.0]])], np.array([1.0]))
