"""Masks: buffers beside plain modules, idempotent, shared where the weight is."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from paring.core.edit import Edit
from paring.errors import LayerError, UnknownNameError
from paring.graph.edits.mask import MaskWeight, apply_masks_, masked
from paring.graph.state import meta_copy, put_state, take_state


def test_a_mask_is_a_persistent_boolean_buffer_on_a_plain_module() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    assert MaskWeight("0").apply(model) is model
    assert type(model[0]) is nn.Linear
    assert model.state_dict()["0.weight_mask"].dtype == torch.bool
    assert model[0].weight_mask.all() and model[0].weight_mask.shape == (4, 3)


def test_masked_weights_return_to_zero_after_a_step() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    MaskWeight("0").apply(model)
    model[0].weight_mask[1] = False
    with torch.no_grad():
        model[0].weight.fill_(-2.0)
        model[0].weight[1, 0] = float("nan")
    apply_masks_(model)
    assert (model[0].weight[1] == 0).all() and (model[0].weight[0] == -2).all()
    assert not torch.signbit(model[0].weight[1]).any()


def test_a_second_edit_keeps_the_mask() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    MaskWeight("0").apply(model)
    model[0].weight_mask[0, 0] = False
    MaskWeight("0").apply(model)
    assert int((~model[0].weight_mask).sum()) == 1


def test_tied_layers_share_one_mask_through_reload() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    replayed = meta_copy(model)
    for edit in (MaskWeight("0"), MaskWeight("1")):
        edit.apply(model)
        Edit.from_json(json.loads(json.dumps(edit.to_json()))).apply(replayed)
    assert model[0].weight_mask is model[1].weight_mask
    assert replayed[0].weight_mask.device.type == "meta"
    model[0].weight_mask[2] = False
    put_state(replayed, *take_state(model))
    assert replayed[0].weight_mask is replayed[1].weight_mask
    assert not replayed[1].weight_mask[2].any()
    assert [name for name, _, _ in masked(replayed)] == ["0", "1"]


def test_a_layer_without_a_weight_is_refused() -> None:
    with pytest.raises(LayerError, match="1: a ReLU without a weight"):
        MaskWeight("1").apply(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    with pytest.raises(UnknownNameError, match="did you mean"):
        MaskWeight("frist").apply(nn.ModuleDict({"first": nn.Linear(3, 4)}))
