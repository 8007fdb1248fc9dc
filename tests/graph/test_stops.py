"""Sweeps over copies of one model begin where the copies begin to differ, and see the same inputs to the last bit."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from paring.graph.capture import Sweep
from paring.graph.replay import alike
from paring.graph.stops import Stops
from tests.graph.test_capture import Block, Encoder, data

LAYERS = [f"blocks.{place}.fc{number}" for place in range(5) for number in (1, 2)]


def seen_in(model: nn.Module, batches: list[tuple[Tensor, Tensor]], layers: list[str]) -> tuple[Tensor, Counter[str]]:
    """What enters the layers in one sweep, and how often each block runs for that."""
    sweep, counts, seen = Sweep(model, batches, "test"), Counter[str](), []
    places = {id(block): str(place) for place, block in enumerate(model.get_submodule("blocks"))}
    run = Block.forward

    def counted(block: Block, x: Tensor, mask: Tensor) -> Tensor:
        counts.update([places[id(block)]])
        return run(block, x, mask)

    with pytest.MonkeyPatch.context() as patch:  # a hook would make the model another one
        patch.setattr(Block, "forward", counted)
        for layer in layers:
            sweep.inputs(layer, lambda x: seen.append(x.clone()))
    return torch.cat([x.flatten() for x in seen]), counts


def changed(model: nn.Module, name: str) -> nn.Module:
    trial = copy.deepcopy(model)
    with torch.no_grad():
        trial.get_parameter(name).mul_(1.5)
    return trial


def test_what_lies_before_the_change_is_not_run_again() -> None:
    model, batches = Encoder(), data()
    stops = Stops(model, batches)
    with stops.shared():
        seen_in(copy.deepcopy(model), batches, LAYERS)
        for place in range(5):
            trial = changed(model, f"blocks.{place}.fc1.weight")
            seen, counts = seen_in(trial, batches, [f"blocks.{place}.fc2"])
            assert counts == {str(place): len(batches)}
            again, _ = seen_in(trial, list(batches), [f"blocks.{place}.fc2"])  # other data as far as stops know
            assert torch.equal(seen, again)


def test_behind_the_change_everything_is_run() -> None:
    model, batches = Encoder(), data()
    stops = Stops(model, batches)
    for name in ("blocks.1.fc1.weight", "stem.weight", "head.weight"):
        trial = changed(model, name)
        expected, _ = seen_in(trial, batches, LAYERS)
        with stops.shared():
            seen_in(model, batches, LAYERS)
            for _ in range(2):
                assert torch.equal(seen_in(trial, batches, LAYERS)[0], expected)
            assert torch.equal(seen_in(model, batches, LAYERS)[0], seen_in(model, list(batches), LAYERS)[0])


def hooked(model: nn.Module) -> nn.Module:
    trial = copy.deepcopy(model)
    trial.get_submodule("blocks.0.fc1").register_forward_hook(lambda _m, _a, answer: answer * 2)
    return trial


class Twice(nn.Module):
    """A layer that runs before the first block and again inside the last."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(4))
        self.first = self.blocks[3][0]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


def test_other_types_hooks_and_layers_that_run_twice_count_as_changes() -> None:
    model, batches = Encoder(), data()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    rounded = copy.deepcopy(model)
    rounded.get_submodule("blocks.0").fc1.register_buffer("more", torch.ones(1))
    twice = Twice()
    for one, other, layers in (
        (model, hooked(model), LAYERS),
        (model, rounded, LAYERS),
        (twice, changed(twice, "blocks.3.0.weight"), ["blocks.0.0", "blocks.2.0"]),
    ):
        stops = Stops(one, batches)
        expected, _ = seen_in(other, list(batches), layers)
        with stops.shared():
            seen_in(one, batches, layers)
            assert torch.equal(seen_in(other, batches, layers)[0], expected)
    assert not alike(nn.Linear(2, 2).float(), nn.Linear(2, 2).double())
    assert not alike(nn.LayerNorm(2), nn.LayerNorm(2).bfloat16())  # the same ones and zeros


def test_room_is_counted_whatever_way_the_stream_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.graph.stops.MOST_BYTES", 100)
    stops = Stops(Encoder(), data())
    stops.keep(0, [((), {"x": torch.zeros(5, 4)})])
    stops.keep(1, [((), {"x": torch.zeros(5, 4)})])
    assert list(stops._inputs) == [0]


def test_an_edit_in_the_middle_of_a_sweep_leaves_no_stop_behind_it() -> None:
    model, batches = Encoder(), data()
    stops, trial = Stops(model, batches), copy.deepcopy(model)
    with stops.shared():
        sweep = Sweep(trial, batches, "test")
        for layer in LAYERS:
            sweep.inputs(layer, lambda x: None)
            with torch.no_grad():
                trial.get_submodule(layer).weight.mul_(1.1)
        assert torch.equal(seen_in(model, batches, LAYERS)[0], seen_in(model, list(batches), LAYERS)[0])


def test_other_models_data_and_full_stores_leave_sweeps_as_they_are() -> None:
    model, batches = Encoder(), data()
    other = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    with Stops(model, batches).shared():
        sweep, seen = Sweep(other, batches, "test"), []
        for name in ("1", "3"):
            sweep.inputs(name, lambda x: seen.append(x.shape))
        assert len(seen) == 2 * len(batches)
    stops = Stops(model, batches)
    stops._num_bytes = 2**29  # no room is left
    with stops.shared():
        for _ in range(2):
            assert torch.equal(seen_in(model, batches, LAYERS)[0], seen_in(model, list(batches), LAYERS)[0])
