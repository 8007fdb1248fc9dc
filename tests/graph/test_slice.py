"""Slices: the sizes modules state follow their tensors, sharing survives, and edits survive JSON."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from paring.core.edit import Edit
from paring.errors import CorruptFileError, ShapeError, UnknownNameError
from paring.graph.edits.mask import MaskWeight
from paring.graph.edits.slice import SliceChannels
from paring.graph.state import meta_copy

CASES = [
    (nn.Conv2d(4, 6, 3), (("weight", 0, (0, 2)), ("bias", 0, (0, 2))), {"out_channels": 2, "in_channels": 4}),
    (nn.Conv2d(4, 6, 3, groups=2), (("weight", 1, (1,)),), {"out_channels": 6, "in_channels": 2, "groups": 2}),
    (nn.Conv2d(6, 6, 3, groups=6), (("weight", 0, (1, 2, 5)), ("bias", 0, (1, 2, 5))), {"in_channels": 3, "groups": 3}),
    (nn.ConvTranspose1d(4, 6, 3), (("weight", 1, (0, 2)), ("bias", 0, (0, 2))), {"out_channels": 2, "in_channels": 4}),
    (nn.Linear(5, 3), (("weight", 1, (4,)), ("weight", 0, (0, 1)), ("bias", 0, (0, 1))), {"in_features": 1}),
    (nn.Embedding(7, 4), (("weight", 1, (3,)),), {"num_embeddings": 7, "embedding_dim": 1}),
    (nn.LayerNorm(4), (("weight", 0, (0, 3)), ("bias", 0, (0, 3))), {"normalized_shape": (2,)}),
    (nn.GroupNorm(2, 4), (("weight", 0, (0, 3)), ("bias", 0, (0, 3))), {"num_channels": 2}),
    (nn.PReLU(4), (("weight", 0, (0, 3)),), {"num_parameters": 2}),
    (
        nn.BatchNorm1d(4, affine=False),
        (("running_mean", 0, (0, 3)), ("running_var", 0, (0, 3))),
        {"num_features": 2},
    ),
]


@pytest.mark.parametrize(("layer", "slices", "sizes"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_stated_sizes_follow_on_weights_and_on_meta(layer: nn.Module, slices: tuple, sizes: dict) -> None:  # type: ignore[type-arg]
    edit = SliceChannels("layer", tuple((f"layer.{name}", dim, kept) for name, dim, kept in slices))
    real = nn.ModuleDict({"layer": layer})
    empty = edit.apply(meta_copy(real))
    edit.apply(real)
    for model in (real, empty):
        assert {name: getattr(model.get_submodule("layer"), name) for name in sizes} == sizes
    assert [t.shape for t in real.state_dict().values()] == [t.shape for t in empty.state_dict().values()]
    assert all(t.is_meta for t in empty.state_dict().values())


def test_the_kept_numbers_are_the_right_ones_and_frozen_weights_stay_frozen() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    MaskWeight("0").apply(model)
    model[0].weight_mask[3, 1] = False
    SliceChannels("0", (("0.weight", 0, (3, 1)), ("0.bias", 0, (3, 1)))).apply(model)
    assert torch.equal(model[0].weight, before[[3, 1]]) and not model[0].weight.requires_grad
    assert model[0].weight_mask.tolist() == [[True, False, True], [True, True, True]]


def test_tensors_held_twice_stay_shared() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.again = self.a
            self.b.weight = self.a.weight

    net = Net()
    MaskWeight("a").apply(net)
    MaskWeight("b").apply(net)
    edit = SliceChannels("again", (("again.weight", 0, (0, 1)), ("a.bias", 0, (0, 1)), ("b.bias", 0, (0, 1))))
    edit.apply(net)
    assert net.a is net.again and net.a.weight is net.b.weight and net.a.weight_mask is net.b.weight_mask
    assert net.b.out_features == net.a.out_features == 2 and net.b.weight_mask.shape == (2, 4)


def test_edits_survive_json() -> None:
    edit = SliceChannels("a", (("a.weight", 0, (0, 2)), ("b.weight", 1, (0, 2))))
    assert Edit.from_json(json.loads(json.dumps(edit.to_json()))) == edit
    with pytest.raises(CorruptFileError, match="SliceChannels"):
        Edit.from_json({"edit": "SliceChannels", "group": "a", "slices": [["a.weight", "x", [0]]]})


@pytest.mark.parametrize(
    ("slices", "error", "message"),
    [
        ((("0.weight", 0, (4,)),), ShapeError, "0.weight: cannot keep 1 indices of dimension 0 of (4, 3)"),
        ((("0.weight", 2, (0,)),), ShapeError, "dimension 2"),
        ((("0.weight", 0, ()),), ShapeError, "cannot keep 0 indices"),
        ((("0.wieght", 0, (0,)),), UnknownNameError, "did you mean '0.weight'"),
        ((("1.weight", 0, (0,)),), UnknownNameError, "unknown layer"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(slices: tuple, error: type, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(error) as caught:
        SliceChannels("0", slices).apply(nn.Sequential(nn.Linear(3, 4)))
    assert message in str(caught.value) and "\n" not in str(caught.value)
