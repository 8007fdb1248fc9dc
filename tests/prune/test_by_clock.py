"""Widths by measured time: the widest that costs no more, or none at all; the clock itself is planted here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from paring.clock.costs import Cost
from paring.core.edit import Declined, Edit
from paring.core.target import Target
from paring.errors import RecipeError, UnknownNameError
from paring.prune import by_clock
from paring.prune.by_clock import ByClock
from paring.prune.channels import Channels
from paring.prune.neurons import Neurons
from paring.settings import build, changed_settings
from tests.prune.test_channels import run

Clock = Callable[[Cost], float]


def plant(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[Cost]:
    """Puts `clock` in the engine's place; the list fills with what was asked of it."""
    asked: list[Cost] = []

    def costs(wanted: Iterable[Cost], target: Target) -> dict[Cost, float]:
        asked.extend(found := list(wanted))
        return {one: clock(one) for one in found}

    monkeypatch.setattr(by_clock, "costs_ms", costs)
    return asked


def in_blocks_of_eight(one: Cost) -> float:
    (op,) = one.chain
    return float(math.ceil(op.num_out / 8) * math.ceil(op.num_in / 8))  # type: ignore[union-attr]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 3),
    ).eval()  # fmt: skip


IMAGES = torch.randn(4, 3, 6, 6)


def test_a_width_is_rounded_up_to_a_full_block(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, in_blocks_of_eight)
    cut, _ = run(net(), IMAGES, Channels(pruning_ratio=0.6, round_to=ByClock(), include=("0",)))
    assert cut[0].out_channels == 16 and cut[3].in_channels == 16  # 10 would take two blocks as well


def test_what_is_not_measured_faster_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda one: 1.0)
    cut, steps = run(net(), IMAGES, Channels(pruning_ratio=0.6, round_to=ByClock(Target("openvino"))))
    assert cut[0].out_channels == 24 and not any(isinstance(step, Edit) for step in steps)
    assert Declined("0", "with all its channels openvino fp32 is measured as fast as with fewer") in steps


def test_a_narrow_width_that_is_slow_gives_way_to_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda one: one.chain[0].num_params * (3.0 if one.chain[0].num_out % 4 else 1.0))
    cut, _ = run(net(), IMAGES, Channels(pruning_ratio=0.6, round_to=ByClock(), include=("0",)))
    assert cut[0].out_channels == 12


def test_the_layers_around_are_timed_as_they_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plant(monkeypatch, in_blocks_of_eight)
    target = Target("onnxruntime", batch_size=2)
    run(net(), IMAGES, Channels(pruning_ratio=0.6, round_to=ByClock(target, int8=True), include=("0",)))
    assert {one.kind for one in asked} == {"int8"} and {one.shape[0] for one in asked} == {2}
    pairs = {(one.chain[0].num_in, one.chain[0].num_out, one.shape) for one in asked}  # type: ignore[union-attr]
    assert pairs >= {(3, 10, (2, 3, 6, 6)), (10, 8, (2, 10, 4, 4)), (3, 24, (2, 3, 6, 6)), (24, 8, (2, 24, 4, 4))}


def test_units_of_many_channels_and_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, in_blocks_of_eight)
    cut, _ = run(net(), IMAGES, Channels(pruning_ratio=0.6, round_to=ByClock(), include=("3",)))
    assert (cut[3].out_channels, cut[6].in_features) == (4, 16)  # each unit is four columns of the Linear
    pair = nn.Sequential(nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8))
    thin, _ = run(pair, torch.randn(4, 5, 8), Neurons(pruning_ratio=0.6, round_to=ByClock()))
    assert (thin[0].out_features, thin[2].in_features) == (16, 16)


@pytest.mark.parametrize("written", ["by_clock", {"by_clock": {"target": {"target": {"engine": "openvino"}}}}, 8])
def test_a_recipe_says_either(written: object) -> None:
    step = build(Channels, {"round_to": written}, "here")
    assert step.round_to == 8 or isinstance(step.round_to, ByClock)
    assert build(Channels, changed_settings(step), "here") == step


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"here\.round_to: got {'a': 1, 'b': 2}; it must be a single name"):
        build(Channels, {"round_to": {"a": 1, "b": 2}}, "here")
    with pytest.raises(UnknownNameError, match="by_clock"):
        build(Channels, {"round_to": "by_clok"}, "here")
    with pytest.raises(RecipeError, match=r"here\.round_to: got 2\.5; .*\(wants int \| ByClock\)"):
        build(Channels, {"round_to": 2.5}, "here")
