"""The model as its own student: how much stays, which weights, and what cannot shrink."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.errors import NothingToDoError, SettingError
from paring.graph.edits.drop import Skip
from paring.student.shrink import Shrink, evenly_spaced
from paring.studies.nets import conv_net
from tests.nets import encoder_task, image_task, vector_task


def test_one_layer_of_two_as_distilbert_takes_them() -> None:
    assert evenly_spaced(6, 0.5) == {0, 2, 4}
    assert evenly_spaced(12, 0.5) == {0, 2, 4, 6, 8, 10}
    assert evenly_spaced(5, 0.01) == {0}
    assert evenly_spaced(3, 1.0) == {0, 1, 2}
    assert evenly_spaced(0, 0.5) == set()


def test_half_the_width_of_a_convolutional_net_keeps_the_largest_channels_weights() -> None:
    torch.manual_seed(0)
    net = conv_net((8, 16), 32, side=8).eval()
    with torch.no_grad():
        net.conv1.weight[::2] *= 100  # type: ignore[operator, index]
    task = replace(image_task(), model=net)
    student = rebuild(compress(task, Recipe((Shrink(width=0.5),))), task)
    widths = [student.conv1.out_channels, student.conv2.out_channels, student.fc.out_features]
    assert widths == [4, 8, 16]
    assert torch.equal(student.conv1.weight, net.conv1.weight[::2])  # type: ignore[index]
    assert task.predict(student, task.example_inputs).shape == task.predict(net, task.example_inputs).shape


def test_an_encoder_loses_every_second_layer_half_its_heads_neurons_and_stream() -> None:
    task = encoder_task()
    candidate = compress(task, Recipe((Shrink(width=0.5, depth=0.5),)))
    student = rebuild(candidate, task)
    assert isinstance(student.encoder.layers[1], Skip)
    layer = student.encoder.layers[0]
    assert layer.linear1.out_features == 12 and layer.self_attn.num_heads == 1
    assert student.embed.embedding_dim == layer.linear1.in_features == 8
    kept = student.embed.weight
    columns = [torch.any((task.model.embed.weight == column[:, None]).all(0)) for column in kept.T]
    assert all(columns), "the embedding's columns are the model's own"


def test_rounding_and_patterns() -> None:
    task = replace(image_task(), model=conv_net((8, 16), 32, side=8).eval())
    student = rebuild(compress(task, Recipe((Shrink(width=0.3, round_to=8, exclude=("fc",)),))), task)
    assert (student.conv1.out_channels, student.conv2.out_channels, student.fc.out_features) == (8, 8, 32)


@pytest.mark.parametrize(
    "settings", [{"width": 1}, {"width": 0}, {"width": 1.5}, {"depth": -1}, {"width": 0.5, "round_to": 0}]
)
def test_bad_settings_are_refused(settings) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError, match=r"student\.shrink"):
        Shrink(**settings)


def test_nothing_to_shrink_is_said() -> None:
    with pytest.raises(NothingToDoError, match="Widen the patterns"):
        compress(vector_task(), Recipe((Shrink(width=1, depth=0.5),)))
    task = replace(image_task(), model=nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))
    with pytest.raises(NothingToDoError, match=r"student\.shrink"):
        compress(task, Recipe((Shrink(width=0.5),)))
