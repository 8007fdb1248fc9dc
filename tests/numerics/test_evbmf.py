"""Empirical variational Bayes against a numerical minimisation of its free energy, and on planted ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from paring.numerics.evbmf import evbmf_rank, free_energy, noise_variance, shrunk, threshold


def component_energy(logs: np.ndarray, value: float, L: int, M: int) -> float:
    """Twice the free energy of one component with noise variance 1, minus that of leaving it out.

    `logs` are the logarithms of (mean a, mean b, variance a, variance b, prior a, prior b), Nakajima et al. 2013: a has
    M entries, b has L; the Gaussian posteriors are q(a) = N(mean a, variance a I) and so on.
    """
    a, b, va, vb, ca, cb = np.exp(logs)
    return float(
        M * np.log(ca / va)
        + L * np.log(cb / vb)
        + (a**2 + M * va) / ca
        + (b**2 + L * vb) / cb
        - (L + M)
        - 2 * a * b * value
        + (a**2 + M * va) * (b**2 + L * vb)
    )


def minimum(value: float, L: int, M: int) -> tuple[float, float]:
    """(least energy, mean a x mean b there), from several starts."""
    found = []
    for scale in (0.3, 1.0, 3.0):
        start = np.log([np.sqrt(value), np.sqrt(value), 1 / value, 1 / value, value / M, value / L])
        start[:2] += np.log(scale) / 2
        result = minimize(
            component_energy,
            start,
            (value, L, M),
            "Nelder-Mead",
            options={"maxiter": 40_000, "fatol": 1e-10, "xatol": 1e-8},
        )
        refined = minimize(component_energy, result.x, (value, L, M), "L-BFGS-B", bounds=[(-30, 30)] * 6)
        best = min((result, refined), key=lambda r: r.fun)
        found.append((float(best.fun), float(np.exp(best.x[0] + best.x[1]))))
    return min(found)


@pytest.mark.parametrize(("L", "M"), [(4, 4), (10, 30), (20, 100)])
def test_the_threshold_is_where_the_free_energy_turns_negative(L: int, M: int) -> None:
    edge = np.sqrt(threshold(L, M) * M)
    above, _ = minimum(edge * 1.01, L, M)
    below, _ = minimum(edge * 0.99, L, M)
    assert above < 0 < below + 1e-6
    assert above == pytest.approx(-below, abs=0.5 * abs(above) + 1e-3)  # it crosses zero in between


@pytest.mark.parametrize(("L", "M"), [(4, 4), (10, 30), (20, 100)])
@pytest.mark.parametrize("factor", [1.1, 1.5, 3.0])
def test_kept_values_are_shrunk_to_the_minimum_of_the_free_energy(L: int, M: int, factor: float) -> None:
    value = float(np.sqrt(threshold(L, M) * M) * factor)
    _, product = minimum(value, L, M)
    assert shrunk(value, 1.0, L, M) == pytest.approx(product, rel=1e-3)
    assert shrunk(value / factor * 0.99, 1.0, L, M) == 0.0


def test_the_threshold_agrees_with_the_papers_approximation() -> None:
    for alpha in (0.1, 0.3, 0.6, 1.0):
        tau = 2.5129 * np.sqrt(alpha)
        assert threshold(round(1000 * alpha), 1000) == pytest.approx((1 + tau) * (1 + alpha / tau), rel=0.025)


def test_noise_variance_is_the_global_minimum_of_its_objective() -> None:
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 90)) + 0.7 * rng.standard_normal((40, 90))
    squares = np.linalg.svd(Y, compute_uv=False) ** 2
    found = noise_variance(squares, 40, 90)
    assert found == pytest.approx(0.49, rel=0.05)
    grid = np.geomspace(0.01, squares.sum() / 3600, 4000)
    assert free_energy(found, squares, 40, 90) <= min(free_energy(v, squares, 40, 90) for v in grid) + 1e-6


@pytest.mark.parametrize("rank", [0, 1, 5])
@pytest.mark.parametrize("shape", [(60, 200), (200, 60), (64, 64)])
def test_planted_ranks_are_found(rank: int, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(rank)
    Y = torch.randn(shape, generator=generator) * 0.5
    if rank:
        Y = Y + torch.randn(shape[0], rank, generator=generator) @ torch.randn(rank, shape[1], generator=generator)
    assert evbmf_rank(torch.linalg.svdvals(Y.double()) ** 2, shape) == rank


def test_no_noise_and_nothing_at_all() -> None:
    Y = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 13.0))
    assert evbmf_rank(torch.linalg.svdvals(Y.double()) ** 2, (8, 12)) == 1
    assert evbmf_rank(torch.zeros(8), (8, 12)) == 0
