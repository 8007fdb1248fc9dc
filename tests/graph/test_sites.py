"""Which layers a pass may treat."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paring.core.edit import Declined
from paring.errors import LayerError, NothingToDoError, UnknownNameError
from paring.factorize.svd import Svd
from paring.graph.sites import names_of, replace, sharers, submodule
from paring.graph.targets import targets
from tests.nets import SharedNet


def test_replace_reaches_every_name_of_a_module() -> None:
    block = nn.Linear(4, 4)
    model = nn.Sequential(block, nn.ReLU(), block)
    assert names_of(model, "0") == ["0", "2"]
    new = nn.Identity()
    assert replace(model, "2", new) is model
    assert model[0] is new and model[2] is new


def test_sharers_name_each_other() -> None:
    assert sharers(SharedNet()) == {"tied_a": ("tied_b",), "tied_b": ("tied_a",)}


def test_unknown_layer_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'twice'"):
        submodule(SharedNet(), "twise")


def test_tied_layers_are_declined_under_a_pattern_and_refused_by_name() -> None:
    found = list(targets(Svd(), SharedNet(), (nn.Linear,)))
    assert {f.layer for f in found if isinstance(f, Declined)} == {"tied_a", "tied_b"}
    with pytest.raises(LayerError, match="tied_a: its weight is shared with tied_b"):
        list(targets(Svd(include=("tied_a",)), SharedNet(), (nn.Linear,)))
    skipped = list(targets(Svd(include=("tied_a",), on_unsupported="skip"), SharedNet(), (nn.Linear,)))
    assert [type(item) for item in skipped] == [Declined]


def test_layers_inside_an_opaque_module_are_declined() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 2))
    found = list(targets(Svd(), model, (nn.Linear,)))
    declined = [item for item in found if isinstance(item, Declined)]
    assert [item.layer for item in declined] == ["0.linear1", "0.linear2"]
    assert all("bypasses" in item.reason for item in declined)


def test_wrong_kind_by_name_and_empty_selection_are_errors() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 2))
    with pytest.raises(LayerError, match="0 is a Conv2d, and this pass treats Linear"):
        list(targets(Svd(include=("0", "1")), model, (nn.Linear,)))
    with pytest.raises(NothingToDoError, match="selects no Linear layer"):
        list(targets(Svd(include=("zzz*",)), model, (nn.Linear,)))
    assert torch.is_tensor(model[1].weight)
