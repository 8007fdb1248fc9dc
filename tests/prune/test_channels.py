"""Structured pruning: channels really gone, as many as asked for, never a layer emptied, replayable."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from paring.core.edit import Declined, Edit
from paring.core.metric import Metric
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, NothingToDoError, SettingError, TraceError, UnknownNameError
from paring.graph.edits.factorize import Factorize
from paring.graph.edits.slice import SliceChannels
from paring.graph.state import meta_copy, put_state, take_state
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from tests.graph.coupled_nets import NETS, answer, make


def task_of(model: nn.Module, inputs: Any) -> Task:
    metric = Metric("zero", lambda outputs, targets: 0.0)
    data = [(inputs, torch.arange(4) % 3)]
    return Task(model, inputs, data, nn.functional.cross_entropy, metric, calibration=data)


def run(model: nn.Module, inputs: Any, *passes: Pass) -> tuple[nn.Module, list[Any]]:
    model = copy.deepcopy(model)
    steps: list[Any] = []
    for one in passes:
        for step in one.run(model, task_of(model, inputs)):
            steps.append(step)
            if isinstance(step, Edit):
                model = step.apply(model)
    return model, steps


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_nets_shrink_run_and_replay_bit_identical(name: str, scope: str) -> None:
    model, inputs = make(name)
    step = Channels(pruning_ratio=0.4, scope=scope, on_unsupported="skip")  # type: ignore[arg-type]
    cut, steps = run(model, inputs, step)
    assert size(cut) < size(model) and answer(cut, inputs).shape == answer(model, inputs).shape
    replayed = meta_copy(model)
    for edit in steps:
        if isinstance(edit, Edit):
            replayed = Edit.from_json(json.loads(json.dumps(edit.to_json()))).apply(replayed)
    put_state(replayed, *take_state(cut))
    assert torch.equal(answer(replayed, inputs), answer(cut, inputs))
    assert run(model, inputs, step)[1] == steps


def test_half_of_each_layer_goes_and_the_output_stays() -> None:
    model, inputs = make("residual")
    cut, steps = run(model, inputs, Channels())
    widths = {name: module.out_channels for name, module in cut.named_modules() if isinstance(module, nn.Conv2d)}
    assert widths == {"stem": 4, "a1": 2, "a2": 4, "b1": 3, "b2": 6, "proj": 6}
    assert Declined("head", "its channels end in the model's output") in steps
    assert [step.group for step in steps if isinstance(step, SliceChannels)] == ["stem", "a1", "b1", "b2"]


def test_the_least_important_go() -> None:
    model, inputs = make("mlp")
    with torch.no_grad():
        model[0].weight[[1, 4, 7]] *= 1e-3
        model[2].weight[:, [1, 4, 7]] *= 1e-3
    for importance in ("l1", "l2"):
        _, steps = run(model, inputs, Channels(pruning_ratio=3 / 16, importance=importance, include=("0",)))  # type: ignore[arg-type]
        assert {name: kept for name, _, kept in steps[0].slices}["0.weight"] == tuple(
            i for i in range(16) if i not in (1, 4, 7)
        )


def test_masks_are_cut_along_and_still_hold() -> None:
    model, inputs = make("plain")
    cut, _ = run(model, inputs, Magnitude(sparsity=0.5), Channels(pruning_ratio=0.25))
    for module in cut.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight_mask.shape == module.weight.shape
            assert (module.weight[~module.weight_mask] == 0).all()


def test_the_rank_of_a_factorized_layer_is_a_width_like_any_other() -> None:
    model, inputs = make("mlp")
    Factorize("0", 6).apply(model)
    cut, steps = run(model, inputs, Channels())
    assert [(p.shape[0], p.shape[1]) for p in cut.parameters()] == [(3, 7), (8, 3), (4, 8), (5, 4)]
    assert [step.group for step in steps if isinstance(step, SliceChannels)] == ["0.0", "0.1", "2"]


@pytest.mark.parametrize(("round_to", "widths"), [(4, (4, 4)), (8, (8, 6)), (3, (6, 3))])
def test_widths_round_up(round_to: int, widths: tuple[int, int]) -> None:
    model, inputs = make("plain")
    cut, steps = run(model, inputs, Channels(pruning_ratio=0.5, round_to=round_to))
    assert (cut.conv1.out_channels, cut.conv2.out_channels) == widths
    kept_whole = Declined("conv1", "rounded to a multiple of 8 it keeps all its channels")
    assert (kept_whole in steps) == (round_to == 8)


def test_parts_of_a_grouped_convolution_shrink_alike() -> None:
    cut, _ = run(*make("grouped"), Channels(round_to=4))
    assert (cut.stem.out_channels, cut.grouped.in_channels, cut.grouped.out_channels) == (4, 4, 8)
    assert cut.grouped.groups == 2


def test_half_of_a_concatenation_is_never_emptied() -> None:
    model, inputs = make("concat_add")
    with torch.no_grad():
        model.left.weight.zero_()
    cut, _ = run(model, inputs, Channels(pruning_ratio=0.5))
    assert (cut.left.out_channels, cut.right.out_channels, cut.wide.out_channels) == (1, 3, 4)


def test_global_ranking_takes_more_where_channels_matter_less() -> None:
    model, inputs = make("mlp")
    with torch.no_grad():
        model[0].weight[:12] *= 1e-3
        model[2].weight[:, :12] *= 1e-3
    cut, _ = run(model, inputs, Channels(pruning_ratio=0.5, scope="global"))
    assert cut[0].out_features + cut[2].out_features == 25 - 13
    assert cut[0].out_features == 4


def test_an_emptied_layer_is_an_error_that_names_it() -> None:
    model, inputs = make("mlp")
    with pytest.raises(LayerError, match=r"prune.channels: 0: pruning_ratio 0.98 would remove all its channels"):
        run(model, inputs, Channels(pruning_ratio=0.98))
    cut, steps = run(model, inputs, Channels(pruning_ratio=0.98, on_unsupported="skip"))
    assert cut[0].out_features == 16 and any("would remove all" in step.reason for step in steps)
    assert run(model, inputs, Channels(pruning_ratio=0.98, round_to=4))[0][0].out_features == 4


def test_layers_named_outright_must_be_cut_others_are_declined() -> None:
    model, inputs = make("residual")
    with pytest.raises(LayerError, match=r"prune.channels: head: its channels end in the model's output. Exclude it"):
        run(model, inputs, Channels(include=("head",)))
    _, steps = run(model, inputs, Channels(include=("head",), on_unsupported="skip"))
    assert steps == [Declined("head", "its channels end in the model's output")]
    _, steps = run(model, inputs, Channels(exclude=("a2",)))
    assert Declined("stem", "its channels are coupled with those of a2, which is excluded") in steps
    assert "stem" not in [step.group for step in steps if isinstance(step, SliceChannels)]
    cut, _ = run(model, inputs, Channels(include=("a2",)))
    assert (cut.stem.out_channels, cut.a2.out_channels, cut.b2.out_channels) == (4, 4, 12)


def test_layers_that_do_not_reach_the_output_are_declined() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.idle, self.head = nn.Linear(7, 8), nn.Linear(8, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(relu(self.fc(x)))

    _, steps = run(Idle(), torch.randn(4, 7), Channels())
    assert Declined("idle", "its output does not reach the model's") in steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pruning_ratio": 0}, "pruning_ratio is 0; it must lie between 0 and 1"),
        ({"pruning_ratio": 1.0}, "pruning_ratio is 1.0"),
        ({"importance": "l3"}, "unknown importance 'l3'; did you mean"),
        ({"scope": "layers"}, "unknown scope 'layers'; did you mean 'layer'"),
        ({"round_to": 0}, "round_to is 0"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((SettingError, UnknownNameError)) as caught:
        Channels(**settings)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_models_that_cannot_be_treated_are_refused() -> None:
    with pytest.raises(NothingToDoError, match="selects no Linear"):
        run(nn.Sequential(nn.BatchNorm1d(7)), torch.randn(4, 7), Channels())

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(7, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x).detach()

    with pytest.raises(TraceError, match="cannot be traced"):
        run(Branch(), torch.randn(4, 7), Channels())
