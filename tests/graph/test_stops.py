"""Sweeps over copies of one model begin where the copies begin to differ, and see the same inputs to the last bit."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from paring.graph.capture import Sweep, input_moments
from paring.graph.replay import alike
from paring.graph.stops import Stops
from paring.numerics.hessian import Moments
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


class Gated(nn.Module):
    """Three layers one after another, the first through its weight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.fc1, self.fc2 = nn.Linear(6, 6), nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(torch.relu(self.fc1(x @ self.gate.weight)))


def moments_of(model: nn.Module, batches: list[tuple[Tensor, Tensor]], layer: str) -> tuple[Tensor, int]:
    """Second moments of what enters the layer, and how many rows were read for them."""
    sweep, rows = Sweep(model, batches, "test"), 0
    add = Moments.add_

    def counted(moments: Moments, x: Tensor) -> None:
        nonlocal rows
        rows += len(x)
        add(moments, x)

    module = model.get_submodule(layer)
    assert isinstance(module, nn.Linear)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moments, "add_", counted)
        return input_moments(sweep, layer, module).second_II, rows


@pytest.mark.parametrize(
    ("change", "is_known"),
    [
        (None, True),
        ("2.fc2.weight", True),  # the layer itself
        ("2.fc2.bias", True),
        ("3.fc1.weight", True),  # a later block
        ("2.fc1.weight", False),
        ("2.gate.weight", False),  # never called, and yet it is used
        ("1.fc1.weight", False),
    ],
)
def test_moments_of_what_enters_a_layer_are_read_once(change: str | None, is_known: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(Gated() for _ in range(4))).eval()
    batches = [(torch.randn(5, 6), torch.zeros(5)) for _ in range(2)]
    trial = model if change is None else changed(model, change)
    expected, _ = moments_of(trial, list(batches), "2.fc2")
    with Stops(model, batches).shared():
        assert moments_of(copy.deepcopy(model), batches, "2.fc2")[1] == 10
        found, rows = moments_of(trial, batches, "2.fc2")
    assert rows == (0 if is_known else 10)
    assert torch.equal(found, expected)


def test_a_layer_of_the_same_block_may_not_differ_and_none_may_change_what_enters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(Gated() for _ in range(3))).eval()
    batches = [(torch.randn(5, 6), torch.zeros(5))]
    with Stops(model, batches).shared():
        moments_of(model, batches, "1.fc1")
        assert moments_of(changed(model, "1.fc2.weight"), batches, "1.fc1")[1] == 5  # it might be used before it runs
        assert moments_of(changed(model, "1.fc1.weight"), batches, "1.fc1")[1] == 0
        model[1].fc1.register_forward_pre_hook(lambda _m, args: (2 * args[0],))
        assert moments_of(model, batches, "1.fc1")[1] == 5


def test_the_latest_moments_stay_where_room_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.graph.stops.MOST_MOMENTS", 2 * Moments(3).num_bytes)
    stops = Stops(nn.Identity(), [])
    for name in "abc":
        stops.keep_moments(name, Moments(3))
        stops.moments("a")
    stops.keep_moments("d", Moments(9))  # larger than all the room
    assert [name for name in "abcd" if stops.moments(name) is not None] == ["a", "c"]
