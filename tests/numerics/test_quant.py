from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from paring.errors import LayerError
from paring.numerics.quant import (
    BIAS_MAX,
    TINY,
    Range,
    activation_scale,
    observe,
    round_bias,
    round_weight,
    scale_for_bias,
    spread,
    weight_scale,
)

finite = st.floats(-1e6, 1e6, width=32)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2))


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    out, inner, spatial = draw(sizes)
    shape = (out, inner, *[3] * spatial)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    spread = 10.0 ** draw(st.integers(-12, 6))
    return torch.randn(shape, generator=generator) * spread


@given(weights(), st.sampled_from([1, 3, 7, 64, 127]))
def test_weight_rounding_error_is_at_most_half_a_scale(W: Tensor, quant_max: int) -> None:
    scale_O = weight_scale(W, quant_max)
    q = round_weight(W, scale_O, -quant_max, quant_max)
    error = (q.double() * spread(scale_O, W).double() - W.double()).abs()
    assert q.shape == W.shape and q.dtype == torch.int8 and scale_O.shape == (len(W),)
    assert (error <= spread(scale_O, W).double() * (0.5 + 1e-5)).all()
    assert int(q.abs().max()) <= quant_max


def test_largest_weight_of_a_channel_gets_the_largest_integer() -> None:
    W = torch.tensor([[0.5, -2.0], [0.1, 0.05]])
    q = round_weight(W, weight_scale(W, 127), -127, 127)
    assert q.tolist() == [[32, -127], [127, 64]]


def test_all_zero_channel_gives_zeros_and_no_nan() -> None:
    W = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    scale_O = weight_scale(W, 127)
    assert torch.isfinite(scale_O).all() and (scale_O > 0).all()
    assert round_weight(W, scale_O, -127, 127).tolist() == [[0, 0], [127, -127]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_numbers_raise(bad: float) -> None:
    with pytest.raises(LayerError, match="NaN or infinity"):
        weight_scale(torch.tensor([[1.0, bad]]), 127)
    with pytest.raises(LayerError, match="NaN or infinity"):
        observe(torch.tensor([1.0, bad]))
    with pytest.raises(LayerError, match="NaN or infinity"):
        activation_scale(Range(-1.0, abs(bad)))


@given(finite, finite)
def test_activation_range_holds_zero_exactly_and_rounds_within_half_a_scale(a: float, b: float) -> None:
    seen = Range(min(a, b), max(a, b))
    scale, zero_point = activation_scale(seen)
    assert scale > 0 and 0 <= zero_point <= 255 and float(torch.tensor(scale)) == scale
    for x in (seen.low, seen.high, 0.0, (seen.low + seen.high) / 2):
        q = min(255, max(0, round(x / scale) + zero_point))
        assert abs(scale * (q - zero_point) - x) <= scale * (0.5 + 1e-3)
    assert scale * (zero_point - zero_point) == 0.0


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Range(0.0, 0.0), (1.0, 0)),
        (Range(), (1.0, 0)),
        (Range(3.0, 3.0), (3 / 255, 0)),
        (Range(-3.0, -3.0), (3 / 255, 255)),
        (Range(0.0, 2.55), (0.01, 0)),
        (Range(-1.0, 1.55), (0.01, 100)),
        (Range(0.0, 1e-45), (TINY, 0)),
    ],
)
def test_constant_and_empty_ranges(seen: Range, expected: tuple[float, int]) -> None:
    scale, zero_point = activation_scale(seen)
    assert scale == pytest.approx(expected[0], rel=1e-6) and zero_point == expected[1]


@given(st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=5))
def test_merged_ranges_are_the_range_of_all(parts: list[list[float]]) -> None:
    seen = Range()
    for part in parts:
        seen = seen.merge(observe(torch.tensor(part)))
    everything = torch.tensor([x for part in parts for x in part])
    assert (seen.low, seen.high) == (float(everything.min()), float(everything.max()))


def test_nothing_seen_is_neutral() -> None:
    assert observe(torch.empty(0, 3)).is_empty
    assert Range().merge(Range(-1.0, 2.0)) == Range(-1.0, 2.0)


def test_scale_is_raised_only_where_the_bias_would_overflow() -> None:
    W = torch.tensor([[1.0], [1e-9], [0.0], [0.0]])
    bias_O = torch.tensor([5.0, 5.0, 5.0, 0.0])
    scale_O = weight_scale(W, 127)
    fitted_O = scale_for_bias(W, scale_O, bias_O, 0.01)
    steps_O = bias_O.double() / (fitted_O.double() * 0.01)
    assert fitted_O[0] == scale_O[0] and fitted_O[3] == scale_O[3]
    assert steps_O.abs().max() <= BIAS_MAX * (1 + 1e-6)
    back_O = round_bias(bias_O, fitted_O * 0.01).double() * (fitted_O * 0.01).double()
    assert torch.allclose(back_O, bias_O.double(), rtol=1e-5)
    assert torch.equal(scale_for_bias(W, scale_O, None, 0.01), scale_O)
