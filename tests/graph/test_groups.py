"""Coupled channels: what hangs together is found, what cannot be cut is blocked with its reason."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from paring.core.task import call
from paring.errors import TraceError
from paring.graph.edits.slice import SliceChannels
from paring.graph.groups import ChannelGroup, channel_groups
from tests.graph.coupled_nets import NETS, answer, make, silence_


def groups_of(model: nn.Module, inputs: Any) -> dict[str, ChannelGroup]:
    return {group.name: group for group in channel_groups(model, inputs, call)}


@pytest.mark.parametrize("name", NETS)
def test_a_sliced_net_equals_its_masked_twin(name: str) -> None:
    """Independent of the check inside `channel_groups`: here what *makes* a channel is zeroed."""
    model, inputs = make(name)
    groups = channel_groups(model, inputs, call)
    open_groups = [group for group in groups if group.blocked is None]
    assert open_groups and [group.ends_in_output for group in groups].count(True) == 1
    twin, cut, alive, dice = copy.deepcopy(model), copy.deepcopy(model), {}, random.Random(3)
    for group in open_groups:
        units = sorted(dice.sample(range(group.width), group.width // 2))
        silent = [
            (member.tensor, tuple(i for unit in units for i in member.indices[unit]))
            for member in group.members
            if member.role != "consumes" and "running" not in member.tensor
        ]
        silence_(twin, silent)
        cut = SliceChannels(group.name, group.without(units, alive)).apply(cut)
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in model.parameters())
    assert torch.allclose(answer(cut, inputs), answer(twin, inputs), atol=1e-5)
    assert not torch.allclose(answer(cut, inputs), answer(model, inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "root", "layers"),
    [
        ("residual", "stem", ("stem", "a2")),
        ("residual", "b2", ("b2", "proj")),
        ("depthwise", "expand", ("expand", "depth")),
        ("dict", "embed", ("embed", "dense")),
        ("twice", "first", ("first", "shared")),
        ("conv1d", "conv", ("conv", "excite")),
    ],
)
def test_coupled_layers_are_found(name: str, root: str, layers: tuple[str, ...]) -> None:
    group = groups_of(*make(name))[root]
    assert group.layers == layers and group.blocked is None


def test_flattened_and_grouped_channels_map_to_their_indices() -> None:
    reads = {(m.tensor, m.dim): m.indices for m in groups_of(*make("plain"))["conv2"].members}
    assert reads["fc1.weight", 1][2] == tuple(range(18, 27))
    stem = groups_of(*make("grouped"))["stem"]
    assert (stem.width, stem.channels_per_unit) == (4, 2)
    assert {(m.tensor, m.dim): m.indices[1] for m in stem.members}["stem.weight", 0] == (1, 5)


def test_frozen_weights_and_the_callers_model_are_left_alone() -> None:
    model, inputs = make("residual")
    model.requires_grad_(False).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        groups = groups_of(model, inputs)
    assert groups["stem"].blocked is None
    assert model.training and not any(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class Odd(nn.Module):
    """A custom layer between two Linears."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.first, self.middle, self.head = nn.Linear(6, 8), middle, nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.first(x)))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.linspace(1, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class OwnWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class Do(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


BLOCKED = {
    "buffers": (Scale, "run through 2.middle"),
    "own weight": (OwnWeight, "run through 2.middle"),
    "flip": (lambda: Do(lambda x: x + x.flip(1)), "mixed in a way that the trace does not show"),
    "softmax": (lambda: Do(lambda x: x.softmax(1)), "mixed in a way"),
    "literal size": (lambda: Do(lambda x: x.view(-1, 8).relu()), "the forward fails"),
    "plain layer norm": (lambda: nn.LayerNorm(8, elementwise_affine=False), "2.middle is a LayerNorm without weights"),
}


@pytest.mark.parametrize("kind", BLOCKED)
def test_what_cannot_be_followed_is_blocked_and_nothing_else_is(kind: str) -> None:
    torch.manual_seed(0)
    middle, reason = BLOCKED[kind]
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), Odd(middle()))
    groups = groups_of(model.eval(), torch.randn(2, 5))
    assert reason in (groups["2.first"].blocked or "")
    assert groups["0"].blocked is None


def test_parametrized_layers_and_tied_weights_block() -> None:
    model, inputs = make("mlp")
    nn.utils.parametrizations.weight_norm(model[2])
    groups = groups_of(model, inputs)
    assert "run through 2" in (groups["0"].blocked or "")
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    model[2].weight = model[0].weight
    assert "shared with" in (groups_of(model, torch.randn(2, 6))["0"].blocked or "")


@pytest.mark.parametrize("norm", [nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.PReLU(8), nn.PReLU()])
def test_norms_across_channels_are_cut_with_them(norm: nn.Module) -> None:
    model = Odd(norm).eval()
    group = groups_of(model, torch.randn(2, 6))["first"]
    assert group.blocked is None
    cut = SliceChannels("first", group.without([1], {})).apply(model)
    assert answer(cut, torch.randn(2, 6)).shape == (2, 4)
    assert cut.get_submodule("head").in_features == 8 - group.channels_per_unit


def test_a_channel_added_to_the_input_is_blocked() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(relu(x + self.fc(x)))

    assert "the forward fails" in (groups_of(Skip(), torch.randn(2, 6))["fc"].blocked or "")


def test_attention_heads_block_even_where_the_attention_is_uniform() -> None:
    """Half of the channels would run and, with such small weights, answer almost the same."""

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(6, 8) for _ in range(3))
            self.out = nn.Linear(8, 3)
            for module in (self.q, self.k):
                nn.init.normal_(module.weight, std=1e-4)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (layer(x).view(*x.shape[:2], -1, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
            return self.out(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)).mean(1)

    groups = groups_of(Attend(), torch.randn(2, 5, 6))
    assert all(group.blocked is not None for group in groups.values())


def test_a_broadcast_gate_is_blocked() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 1, 1), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.conv(x) * self.gate(x)).mean((2, 3)))

    groups = groups_of(Gate(), torch.randn(2, 3, 4, 4))
    assert groups["conv"].blocked == "its channels are broadcast against those of gate"


def test_an_untraceable_model_says_why_in_one_line() -> None:
    for function, reason in ((torch.detach, "does not depend on any weight"), (lambda x: x @ x, "shapes cannot")):
        with pytest.raises(TraceError, match=f"cannot be traced for coupled channels: .*{reason}") as caught:
            channel_groups(nn.Sequential(nn.Linear(3, 4), Do(function)), torch.ones(2, 3), call)
        assert "\n" not in str(caught.value)
