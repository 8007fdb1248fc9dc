"""Tucker-2 and the spatial split as passes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.errors import ForwardError, LayerError, NothingToDoError, ShapeError, UnknownNameError
from paring.factorize.rank import EVBMF, Energy, Rank, Ratio
from paring.factorize.spatial import Spatial
from paring.factorize.tucker import Tucker, _Fits
from paring.graph.capture import Sweep, input_moments
from paring.graph.edits.factorize_conv import FactorizeConv, FactorizeSpatial
from paring.graph.quantized import QuantizedLayer
from paring.numerics.tucker import hosvd, spatial_kernels, spatial_parts
from paring.quantize.static import Static
from tests.factorize.layers import forward, images, output_error, task_of
from tests.nets import image_task

SETTINGS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2, "bias": False},
    {"kernel_size": (3, 5), "padding": (1, 2), "dilation": (2, 1)},
    {"kernel_size": 3, "padding": "same", "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": "same"},
]


def one_conv(num_out: int = 10, num_in: int = 6, **settings: Any):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(num_in, num_out, **(settings or SETTINGS[0])))
    return task_of(model, images(channels=num_in))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("step", [Tucker(rank=Rank(4), method="hosvd"), Tucker(rank=Rank(4)), Spatial(rank=Rank(3))])
def test_factors_are_ordinary_convolutions_of_the_same_shape(step: Any, settings: dict[str, Any]) -> None:
    task = one_conv(**settings)
    candidate = compress(task, Recipe((step,)))
    model = rebuild(candidate, task)
    assert all(type(conv) is nn.Conv2d for conv in model[0])
    assert model(task.example_inputs).shape == task.model(task.example_inputs).shape
    assert (model[0].last.bias is None) == (task.model[0].bias is None)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in task.model.parameters())


@pytest.mark.parametrize("settings", SETTINGS)
def test_edits_compute_the_dense_layer_when_given_its_exact_factors(settings: dict[str, Any]) -> None:
    task = one_conv(num_out=5, num_in=6, **settings)
    x, W = images(), task.model[0].weight.detach()
    expected = forward(task.model, x)
    found = hosvd(W.flatten(2), 5, 6)
    model = FactorizeConv("0", 6, 5).apply(copy.deepcopy(task.model))
    model[0].set_(found.in_SI, found.core_RSP, found.out_OR)
    assert torch.allclose(forward(model, x), expected, atol=1e-4)
    full = min(6 * W.shape[2], 5 * W.shape[3])
    split = FactorizeSpatial("0", full).apply(copy.deepcopy(task.model))
    split[0].set_(*spatial_kernels(spatial_parts(W), full, tuple(W.shape)))
    assert torch.allclose(forward(split, x), expected, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_the_data_aware_fit_beats_the_plain_ones_on_the_data(rank: int) -> None:
    task = one_conv()
    errors = {m: output_error(task, Tucker(rank=Rank(rank), method=m)) for m in ("hosvd", "hooi", "whitened")}  # type: ignore[arg-type]
    assert errors["whitened"] < min(errors["hosvd"], errors["hooi"])


def test_the_error_of_a_choice_is_the_measured_share() -> None:
    task = one_conv(bias=False, kernel_size=3, padding=1)
    moments = input_moments(Sweep(task.model, task.calibration, "test"), "0", task.model[0])
    fits = _Fits(task.model[0], moments.second_II, "whitened")
    W = task.model[0].weight.detach().double().flatten(1)
    total = float(((W @ moments.second_II) * W).sum())
    measured = output_error(task, Tucker(rank=Rank(3), bias_correction=False))
    assert measured == pytest.approx(fits.error((3, 3)) * total, rel=1e-4)


def test_a_mode_that_keeps_all_its_channels_gets_no_pointwise_convolution() -> None:
    task = one_conv(num_out=16, num_in=2)
    model = rebuild(compress(task, Recipe((Tucker(rank=Rank(4)),))), task)
    assert [tuple(conv.kernel_size) for conv in model[0]] == [(3, 3), (1, 1)]
    task = one_conv(num_out=3, num_in=16)
    task = task_of(task.model, images(channels=16))
    model = rebuild(compress(task, Recipe((Tucker(rank=Rank(3)),))), task)
    assert [tuple(conv.kernel_size) for conv in model[0]] == [(1, 1), (3, 3)]


def test_a_pointwise_convolution_becomes_two() -> None:
    task = one_conv(num_out=10, num_in=12, kernel_size=1)
    candidate = compress(task, Recipe((Tucker(rank=Rank(3)),)))
    assert candidate.edits == (FactorizeConv("0", None, 3),)
    assert output_error(task, Tucker(rank=Rank(3))) < output_error(task, Tucker(rank=Rank(3), method="hosvd"))


@pytest.mark.parametrize("choice", [Ratio(0.5), Energy(0.8), Rank(3), EVBMF()])
def test_every_choice_gives_ranks_for_both_modes(choice: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(12, 16, 3))
    with torch.no_grad():
        low = torch.einsum("or,rspq,si->oipq", torch.randn(16, 3), torch.randn(3, 3, 3, 3), torch.randn(3, 12))
        model[0].weight.copy_(low + 0.5 * torch.randn(16, 12, 3, 3))
    task = task_of(model, images(channels=12))
    [edit] = compress(task, Recipe((Tucker(rank=choice, method="hosvd"),))).edits
    assert isinstance(edit, FactorizeConv)
    assert edit.rank_in is not None and edit.rank_out is not None
    assert 1 <= edit.rank_in < 12 and 1 <= edit.rank_out < 16
    if isinstance(choice, EVBMF):
        assert (edit.rank_in, edit.rank_out) == (3, 3)
    if isinstance(choice, Ratio):
        held = sum(p.numel() for p in rebuild(compress(task, Recipe((Tucker(rank=choice),))), task).parameters())
        assert 0.35 <= held / sum(p.numel() for p in model.parameters()) <= 0.5


class Mixed(nn.Module):
    """A grouped, a depthwise, a row and an ordinary convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(6, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.row = nn.Conv2d(8, 8, (1, 3), padding=(0, 1))

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.row(self.depthwise(self.grouped(self.plain(x))))


@pytest.mark.parametrize("step", [Tucker(rank=Rank(3)), Spatial(rank=Rank(3))])
def test_grouped_and_depthwise_are_declined_by_name(step: Any) -> None:
    torch.manual_seed(0)
    task = task_of(Mixed(), images())
    reasons = {declined.layer: declined.reason for declined in compress(task, Recipe((step,))).declined}
    assert "grouped convolution (groups 2)" in reasons["grouped"]
    assert "depthwise convolution (groups 8)" in reasons["depthwise"]
    if isinstance(step, Spatial):
        assert "1 x 3" in reasons["row"]
    with pytest.raises(LayerError, match=r"depthwise.*on_unsupported"):
        compress(task, Recipe((replace(step, include=("depthwise",)),)))
    skipped = compress(task, Recipe((replace(step, include=("depthwise",), on_unsupported="skip"),)))
    assert [declined.layer for declined in skipped.declined] == ["depthwise"]


def test_ranks_above_both_modes_and_other_mistakes_are_named() -> None:
    task = one_conv()
    with pytest.raises(ShapeError, match="0: rank 11 is above the full rank 10"):
        compress(task, Recipe((Tucker(rank=Rank(11)),)))
    with pytest.raises(ShapeError, match="0: rank 99 is above the full rank 18"):
        compress(task, Recipe((Spatial(rank=Rank(99)),)))
    with pytest.raises(UnknownNameError, match="whitened"):
        Tucker(method="whited")  # type: ignore[arg-type]
    with pytest.raises(NothingToDoError, match="Conv2d"):
        compress(task_of(nn.Sequential(nn.Linear(4, 4)), torch.rand(8, 4)), Recipe((Tucker(),)))


def test_a_rank_that_saves_nothing_leaves_the_layer_dense() -> None:
    candidate = compress(one_conv(), Recipe((Tucker(rank=Rank(10)),)))
    assert candidate.edits == () and "saves nothing" in candidate.declined[0].reason


def test_nan_in_inputs_and_weights_and_constant_inputs() -> None:
    task = one_conv()
    x = images()
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ForwardError, match="0: NaN or infinity in its input"):
        compress(task_of(task.model, x), Recipe((Tucker(rank=Rank(3)),)))
    candidate = compress(task_of(task.model, torch.zeros(4, 6, 8, 8)), Recipe((Tucker(rank=Rank(3)),)))
    assert candidate.edits == () and "constant" in candidate.declined[0].reason
    with torch.no_grad():
        task.model[0].weight[0, 0, 0, 0] = torch.nan
    for step in (Tucker(rank=Rank(3)), Tucker(rank=Rank(3), method="hooi"), Spatial(rank=Rank(3))):
        with pytest.raises(LayerError, match="0: its weight holds NaN"):
            compress(task, Recipe((step,)))


@pytest.mark.parametrize("step", [Tucker(rank=Rank(3)), Spatial(rank=Rank(3))])
def test_every_factor_is_quantized_afterwards(step: Any) -> None:
    task = image_task()
    candidate = compress(task, Recipe((step, Static())))
    model = rebuild(candidate, task)
    layers = [edit.layer for edit in candidate.edits if isinstance(edit, FactorizeConv | FactorizeSpatial)]
    assert layers and all(isinstance(child, QuantizedLayer) for layer in layers for child in model.get_submodule(layer))


@pytest.mark.parametrize("edit", [FactorizeConv("head", 2, 2), FactorizeSpatial("head", 2)])
def test_edits_refuse_other_layers(edit: Any) -> None:
    with pytest.raises(ShapeError, match="head is a Linear"):
        edit.apply(image_task().model)
