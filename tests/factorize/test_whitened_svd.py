"""Optimal for the data: predicted loss = measured loss, never worse than plain, sequential, awkward inputs handled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.errors import ForwardError, LayerError, SettingError, ShapeError
from paring.factorize.rank import EVBMF, Energy, Rank
from paring.factorize.svd import Svd
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.graph.edits.factorize import Factorize
from paring.graph.quantized import QuantizedLayer
from paring.numerics.factor import decompose
from paring.numerics.hessian import Moments, whitening
from paring.prune.channels import Channels
from paring.quantize.static import Static
from tests.factorize.layers import correlated, output_error, task_of
from tests.nets import TASKS, image_task, vector_task


def one_layer(num_in: int = 24, num_out: int = 40, *, bias: bool = True, count: int = 200):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return task_of(nn.Sequential(nn.Linear(num_in, num_out, bias=bias)), correlated(count, num_in))


def predicted(task, rank: int, *, centred: bool) -> float:  # type: ignore[no-untyped-def]
    moments = Moments(task.model[0].in_features)
    for x, _ in task.calibration:
        moments.add_(x)
    G = moments.covariance_II if centred else moments.second_II
    return decompose(task.model[0].weight.detach(), whitening(G)).loss(rank)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 5, 8, 12, 14])
def test_predicted_loss_is_the_measured_one_and_plain_is_never_better(rank: int, bias: bool) -> None:
    task = one_layer(bias=bias)
    measured = output_error(task, WhitenedSvd(rank=Rank(rank)))
    assert measured == pytest.approx(predicted(task, rank, centred=bias), rel=1e-4)
    assert measured < output_error(task, Svd(rank=Rank(rank)))


def test_the_corrected_bias_takes_the_mean_error_away_and_helps() -> None:
    task = one_layer()
    model = rebuild(compress(task, Recipe((WhitenedSvd(rank=Rank(3)),))), task)
    x = torch.cat([x for x, _ in task.calibration])
    with torch.no_grad():
        error = (model(x) - task.model(x)).mean(0)
    assert error.abs().max() < 1e-5
    step = WhitenedSvd(rank=Rank(3))
    assert output_error(task, step) < output_error(task, replace(step, bias_correction=False))


def test_each_layer_is_fitted_behind_the_compressed_prefix() -> None:
    task = vector_task()
    candidate = compress(task, Recipe((WhitenedSvd(rank=Rank(3), include=("first", "twice")),)))
    model = rebuild(candidate, task)
    # What `twice` was fitted on: its inputs when only `first` was compressed.
    probe = rebuild(compress(task, Recipe((WhitenedSvd(rank=Rank(3), include=("first",)),))), task)
    moments = Moments(16)
    probe.twice.register_forward_pre_hook(lambda _m, args: moments.add_(args[0]))
    with torch.no_grad():
        for x, _ in task.calibration:
            probe(x)
    A, B = decompose(task.model.twice.weight.detach(), whitening(moments.second_II)).cut(3)
    product = model.twice[1].weight.double() @ model.twice[0].weight.double()
    assert torch.allclose(product, A @ B, atol=1e-5)


def test_layers_come_in_the_order_of_the_forward() -> None:
    candidate = compress(vector_task(), Recipe((WhitenedSvd(rank=Rank(2)),)))
    assert [edit.layer for edit in candidate.edits if isinstance(edit, Factorize)] == ["first", "twice", "head"]
    assert {declined.layer for declined in candidate.declined} == {"tied_a", "tied_b"}


def test_fewer_samples_than_inputs_are_fitted_exactly_on_what_they_span() -> None:
    task = one_layer(count=6)
    assert output_error(task, WhitenedSvd(rank=Rank(8))) == pytest.approx(0, abs=1e-8)
    damped = output_error(task, WhitenedSvd(rank=Rank(3), damping=0.1))
    assert damped >= output_error(task, WhitenedSvd(rank=Rank(3)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_input_leaves_the_layer_dense_if_it_says_nothing(value: float, bias: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40, bias=bias))
    candidate = compress(task_of(model, torch.full((40, 24), value)), Recipe((WhitenedSvd(rank=Rank(3)),)))
    if value == 0.0 or bias:
        assert candidate.edits == () and "constant" in candidate.declined[0].reason
    else:  # one direction is known, and kept exactly
        task = task_of(model, torch.full((40, 24), value))
        assert output_error(task, WhitenedSvd(rank=Rank(3))) == pytest.approx(0, abs=1e-8)


def test_dead_inputs_are_no_obstacle() -> None:
    torch.manual_seed(0)
    x = correlated(200, 24)
    x[:, ::3] = 0
    task = task_of(nn.Sequential(nn.Linear(24, 40)), x)
    assert output_error(task, WhitenedSvd(rank=Rank(4))) < output_error(task, Svd(rank=Rank(4)))


def test_a_layer_that_no_batch_reaches_is_declined() -> None:
    task = vector_task()
    task.model.spare = nn.Linear(16, 16)
    candidate = compress(task, Recipe((WhitenedSvd(rank=Rank(2), include=("spare", "first")),)))
    assert [(declined.layer, declined.reason) for declined in candidate.declined] == [
        ("spare", "no calibration batch reaches it")
    ]


def test_nan_in_inputs_and_weights_are_one_clear_error() -> None:
    task = one_layer()
    x = correlated(40, 24)
    x[3, 4] = torch.nan
    with pytest.raises(ForwardError, match="0: NaN or infinity in its input"):
        compress(task_of(task.model, x), Recipe((WhitenedSvd(rank=Rank(2)),)))
    with torch.no_grad():
        task.model[0].weight[0, 0] = torch.nan
    for step in (WhitenedSvd(rank=Rank(2)), Svd(rank=Rank(2))):
        with pytest.raises(LayerError, match="0: its weight holds NaN"):
            compress(task, Recipe((step,)))


def test_ranks_outside_and_bad_settings_are_refused() -> None:
    with pytest.raises(ShapeError, match="rank 25 is above the full rank 24"):
        compress(one_layer(), Recipe((WhitenedSvd(rank=Rank(25)),)))
    with pytest.raises(SettingError, match="at least 1"):
        Rank(0)
    with pytest.raises(SettingError, match="damping"):
        WhitenedSvd(damping=2.0)


def test_energy_counts_the_spectrum_of_the_output() -> None:
    task = one_layer()
    whitened = compress(task, Recipe((WhitenedSvd(rank=Energy(0.9)),))).edits[0]
    plain = compress(task, Recipe((Svd(rank=Energy(0.6)),))).edits[0]
    assert isinstance(whitened, Factorize) and isinstance(plain, Factorize)
    assert whitened.rank < plain.rank


def test_evbmf_finds_a_planted_rank_and_declines_noise() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 80))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(80, 5) @ torch.randn(5, 60) + 0.3 * torch.randn(80, 60))
    task = task_of(model, torch.randn(50, 60))
    [edit] = compress(task, Recipe((Svd(rank=EVBMF()),))).edits
    assert isinstance(edit, Factorize) and edit.rank == 5
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(80, 60))
    candidate = compress(task, Recipe((Svd(rank=EVBMF()),)))
    assert candidate.edits == () and "no component above the noise" in candidate.declined[0].reason


@pytest.mark.parametrize("step", [Svd(rank=Rank(2), fisher=True), WhitenedSvd(rank=Rank(2), fisher=True)])
def test_fisher_keeps_the_outputs_that_the_loss_reads(step) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 10), nn.Linear(10, 4))
    with torch.no_grad():
        model[1].weight[:, 2:] *= 1e-3  # the loss hardly sees outputs 2 to 9 of the first layer
    task = replace(task_of(model, correlated(200, 12)), loss=lambda out, target: out.square().mean())
    errors = {}
    for fisher in (True, False):
        found = rebuild(compress(task, Recipe((replace(step, fisher=fisher, include=("0",)),))), task)
        x = torch.cat([x for x, _ in task.calibration])
        with torch.no_grad():
            errors[fisher] = (found(x) - model(x)).square().mean().item()
    assert errors[True] < 0.5 * errors[False]
    assert "calibration" in step.requirements()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_both_factors_are_quantized_afterwards(name: str) -> None:
    task = TASKS[name]()
    candidate = compress(task, Recipe((WhitenedSvd(rank=Rank(2)), Static())))
    model = rebuild(candidate, task)
    for edit in candidate.edits:
        if isinstance(edit, Factorize):
            assert all(isinstance(child, QuantizedLayer) for child in model.get_submodule(edit.layer))


def test_it_follows_pruning_and_is_followed_by_recovery() -> None:
    task = image_task()
    steps = (Channels(pruning_ratio=0.25), WhitenedSvd(rank=Rank(2)), Finetune(epochs=1), Static())
    candidate = compress(task, Recipe(steps))
    assert any(isinstance(edit, Factorize) for edit in candidate.edits)
    assert torch.isfinite(task.predict(rebuild(candidate, task), task.example_inputs)).all()
