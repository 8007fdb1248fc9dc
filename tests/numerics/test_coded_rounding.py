"""Rounding for the coded size, against exhaustive search, the plain methods and the bounds of information theory."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from paring.numerics.coded_rounding import (
    rate_distortion_round,
    rate_distortion_rows,
    rates_of,
    slopes_of,
    spaced_round,
    water_filling_bits,
)


def problem(rows: int = 64, inputs: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    x = torch.randn(500, inputs, generator=generator, dtype=torch.float64) @ mix
    H = x.T @ x / len(x)
    return torch.randn(
        rows, inputs, generator=generator, dtype=torch.float64
    ), H + 0.01 * H.diagonal().mean() * torch.eye(inputs)


def loss(W: torch.Tensor, Q: torch.Tensor, H: torch.Tensor) -> float:
    off = W - Q
    return float(((off @ H) * off).sum())


def entropy(q: torch.Tensor) -> float:
    p = torch.unique(q, return_counts=True)[1].double() / q.numel()
    return float(-(p * p.log2()).sum())


def test_without_a_price_it_is_optimal_brain_surgeon_rounding() -> None:
    W, H = problem()
    q = rate_distortion_round(W, H, 0.5, 1e-12)
    nearest = torch.round(W / 0.5)
    assert loss(W, 0.5 * q.double(), H) < 0.7 * loss(W, 0.5 * nearest, H)


def test_white_inputs_need_no_surgery() -> None:
    W, _ = problem()
    q = rate_distortion_round(W, torch.eye(24, dtype=torch.float64), 0.5, 1e-12)
    assert torch.equal(q.double(), torch.round(W / 0.5))


def test_rate_is_bought_better_than_by_a_coarser_grid() -> None:
    W, H = problem(256)
    priced = rate_distortion_round(W, H, 0.8, 2.0)
    best = math.inf
    for step in torch.linspace(0.5, 3.0, 40).tolist():
        plain = rate_distortion_round(W, H, step, 1e-12)
        if entropy(plain) <= entropy(priced):
            best = min(best, loss(W, step * plain.double(), H))
    assert loss(W, 0.8 * priced.double(), H) < 0.97 * best


def test_it_comes_near_the_best_of_all_choices_on_a_tiny_problem() -> None:
    W, H = problem(1, 4, seed=3)
    rates = rates_of(torch.round(torch.randn(50, 4, generator=torch.Generator().manual_seed(1))))
    assert rates.value_C.argmin() == 127 - 1 or rates.value_C.argmin() == 127 + 1
    price = 0.05
    q = rate_distortion_round(W, H, 0.6, price)

    def cost(choice: torch.Tensor) -> float:
        return loss(W, 0.6 * choice.double(), H)

    best = min(cost(torch.tensor([c])) for c in itertools.product(range(-4, 5), repeat=4))
    assert cost(q) <= best + 40 * price  # what it pays above the least loss, it saves in bits
    assert cost(q) < cost(torch.zeros(1, 4))


def test_the_price_falls_on_outputs_that_matter_least() -> None:
    W, H = problem(40)
    importance = torch.cat((torch.full((20,), 1.9), torch.full((20,), 0.1))).double()
    q = rate_distortion_round(W, H, 0.7, 1.0, importance)
    assert (q[:20] == 0).double().mean() < (q[20:] == 0).double().mean() - 0.1


def test_rates_know_rows_and_columns_and_slopes_are_their_differences() -> None:
    q = torch.zeros(20, 30)
    q[:5, :10] = torch.randint(-2, 3, (5, 10), generator=torch.Generator().manual_seed(0)).float()
    rates = rates_of(q)
    bits = rates.bits(q)
    assert bits[:5, :10].mean() > bits[10:, 20:].mean() * 5
    dense, sparse = rates.bits(torch.ones_like(q))[0, 0], rates.bits(torch.ones_like(q))[19, 29]
    assert dense < sparse - 3
    slopes = slopes_of(q, rates)
    two = (q == 2).nonzero()[0]
    assert float(slopes[*two]) == pytest.approx(max(0.0, float(rates.value_C[129] - rates.value_C[128])))
    assert (slopes >= 0).all()


@pytest.mark.parametrize("step", [0.15, 0.05])
def test_spacing_is_within_a_third_of_a_bit_of_the_bound(step: float) -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(0, -2, 32, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(32, 32, generator=generator, dtype=torch.float64)).Q
    H = basis @ torch.diag(spread) @ basis.T
    W = torch.randn(4000, 32, generator=generator, dtype=torch.float64)
    geometric = float(spread.log().mean().exp()) ** 0.5
    q, scale = spaced_round(W, H, step / geometric)
    bits = sum(entropy(q[:, j]) for j in range(32)) / 32
    distortion = loss(W, q.double() * scale, H) / W.numel()
    bound = water_filling_bits(torch.tensor(1.0), H, distortion)
    assert bound < bits < bound + 0.33
    assert len(torch.unique(scale)) < 32


def test_spacing_beats_one_step_where_inputs_differ() -> None:
    H = torch.diag(torch.logspace(0, -4, 24, dtype=torch.float64))
    W, _ = problem(2000)
    q, scale = spaced_round(W, H, 2.0)
    spaced = loss(W, q.double() * scale, H), sum(entropy(q[:, j]) for j in range(24)) / 24
    best = math.inf
    for step in torch.linspace(0.05, 3, 60).tolist():
        even = torch.round(W / step).clamp(-127, 127)
        if sum(entropy(even[:, j]) for j in range(24)) / 24 <= spaced[1]:
            best = min(best, loss(W, step * even, H))
    assert spaced[0] < 0.5 * best


def test_water_filling_of_white_inputs_is_shannons_formula() -> None:
    bits = water_filling_bits(torch.tensor(4.0), torch.eye(8), 0.25)
    assert bits == pytest.approx(0.5 * math.log2(16), abs=1e-6)
    assert water_filling_bits(torch.tensor(1.0), torch.eye(8), 1.0) == pytest.approx(0.0, abs=1e-6)


def test_a_table_without_a_price_is_rounded_to_nearest() -> None:
    W, _ = problem(256)
    step = torch.linspace(0.3, 1.5, 256).double()
    q = rate_distortion_rows(W, torch.ones(256), step, 1e-12, torch.ones(24))
    assert torch.equal(q.double(), torch.round(W / step[:, None]))


def test_a_table_is_priced_row_by_row() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        W = torch.distributions.Laplace(0.0, 1.0).sample((256, 24)).double()
    price = torch.linspace(0.1, 4.0, 256).double()

    def lost(q: torch.Tensor, step: torch.Tensor) -> float:
        return float((price[:, None] * (W - step[:, None] * q.double()) ** 2).sum())

    def bits(q: torch.Tensor) -> float:
        return float(rates_of(q).bits(q).mean())

    def best(root: torch.Tensor, most: float) -> float:
        steps = [factor / root for factor in torch.linspace(0.5, 4, 80).tolist()]
        rounded = [(step, torch.round(W / step[:, None])) for step in steps]
        return min(lost(q, step) for step, q in rounded if bits(q) <= most)

    step = 1.5 / price.sqrt()
    priced = rate_distortion_rows(W, price, step, 0.2, torch.ones(24))
    finer_where_dear = best(price.sqrt(), bits(priced))
    assert lost(priced, step) < 0.95 * finer_where_dear < 0.8 * best(torch.ones(256), bits(priced))
