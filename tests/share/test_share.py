"""Shared weights: grids and codebooks against what they must equal, settings that are refused, training that holds."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring import Recipe, compress, pack, rebuild
from paring.artifacts.onnx import write_onnx
from paring.core.edit import Edit
from paring.core.task import outputs_and_targets
from paring.distill.response import Response
from paring.errors import LayerError, NothingToDoError, OrderError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.edits.share import Codes, ShareWeight, Steps
from paring.graph.embedding import QuantizedRows
from paring.graph.shared import Codebook, EvenGrid, SharedLinear
from paring.prune.magnitude import Magnitude
from paring.quantize.weight_only import WeightOnly
from paring.share.embedding import CodedEmbedding
from paring.share.entropy_qat import MANTISSA_BITS, EntropyQat, _steps
from paring.share.kmeans import Kmeans
from paring.share.rate_distortion import RateDistortion
from paring.share.spacing import Spacing
from tests.nets import TASKS, image_task, vector_task


def shared_layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if hasattr(module, "shared")}


def test_codebook_stands_for_its_values_and_survives_freezing() -> None:
    layer = nn.Linear(6, 5)
    edit = ShareWeight("", Codes(5, 2, True), Codes(3, 1, False))
    new = edit.apply(layer)
    assert isinstance(new, SharedLinear) and isinstance(new.shared, Codebook) and isinstance(new.shared_bias, Codebook)
    values = torch.tensor([-2.0, -0.5, 0.0, 0.25, 1.0])
    place = torch.arange(30).reshape(5, 6) % 5
    new.shared.set_(place, values)
    new.shared_bias.set_(torch.tensor([0, 1, 2, 0, 1]), torch.tensor([-1.0, 0.5, 3.0]))
    x = torch.randn(4, 6)
    expected = x @ values[place].T + torch.tensor([-1.0, 0.5, 3.0, -1.0, 0.5])
    assert torch.allclose(new(x), expected)
    assert new.shared.codes.dtype == torch.int8 and new.shared.codes.min() == -2
    new.freeze()
    assert torch.allclose(new(x), expected)
    assert Edit.from_json(edit.to_json()) == edit
    grids = ShareWeight("fc", Steps(columns=True), None)
    assert Edit.from_json(grids.to_json()) == grids


def test_a_centroid_learns_by_the_sum_of_the_gradients_of_its_weights() -> None:
    layer = ShareWeight("", Codes(3, 1, True), None).apply(nn.Linear(4, 3, bias=False))
    values, place = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([[0, 1, 2, 0], [2, 2, 1, 1], [0, 0, 0, 2]])
    layer.shared.set_(place, values)
    x = torch.randn(5, 4)
    layer(x).square().sum().backward()
    dense = values[place].clone().requires_grad_()
    (x @ dense.T).square().sum().backward()
    sums = torch.stack([dense.grad[place == k].sum() for k in (0, 2)])
    assert torch.allclose(layer.shared.values.grad, sums, rtol=1e-4)


def test_zeros_stay_zero_through_sharing_and_recovery() -> None:
    task = vector_task()
    steps = (Magnitude(sparsity=0.6), Kmeans(num_values=6), Finetune(epochs=2, objective=Response()))
    pruned = rebuild(compress(task, Recipe(steps[:1])), task)
    model = rebuild(compress(task, Recipe(steps)), task)
    before = rebuild(compress(task, Recipe(steps[:2])), task)
    assert shared_layers(model)
    for name, layer in shared_layers(model).items():
        was = pruned.get_submodule(name).weight
        assert torch.equal(layer.weight == 0, was == 0)
        assert len(layer.weight.unique()) <= 6
        assert not torch.equal(layer.weight, before.get_submodule(name).weight)  # the values learned


def test_the_error_of_a_grid_falls_with_the_price_and_so_does_sparsity() -> None:
    task = image_task()
    outputs, _ = outputs_and_targets(task, task.model, task.validation)
    errors, zeros = [], []
    for slope in (1e-4, 1e-6, 1e-8):
        model = rebuild(compress(task, Recipe((RateDistortion(slope=slope),))), task)
        errors.append(float((outputs_and_targets(task, model, task.validation)[0] - outputs).square().mean()))
        codes = torch.cat([layer.shared.codes.flatten() for layer in shared_layers(model).values()])
        zeros.append(float((codes == 0).double().mean()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2] and errors[2] < 1e-3
    assert zeros[0] > zeros[1] > zeros[2]


@pytest.mark.parametrize("step", [RateDistortion(slope=1e-6), Spacing(slope=1e-6)], ids=lambda step: step.name)
def test_the_packed_file_is_smaller_than_the_integers(step: RateDistortion | Spacing, tmp_path: Path) -> None:
    task = image_task()
    model = rebuild(compress(task, Recipe((step,))), task)
    for layer in shared_layers(model).values():
        assert isinstance(layer.shared, EvenGrid)
        assert layer.shared.scale.numel() == (layer.shared.codes[0].numel() if step.columns else 1)
    write_onnx(model, task, tmp_path / "m.onnx")
    packed = pack(tmp_path / "m.onnx", tmp_path / "m.paring")
    codes = {tensor.name: tensor for tensor in packed.tensors if tensor.name.endswith("shared.codes")}
    assert len(codes) == 4  # integers stay integers, however small the layer
    assert sum(t.coded_bytes for t in codes.values()) < 0.8 * sum(t.stored_bytes for t in codes.values())


def test_a_row_that_is_looked_up_often_is_finer_and_the_slope_decides() -> None:
    task = TASKS["dict"]()
    assert task.calibration is not None
    few = [(inputs | {"tokens": inputs["tokens"] % 3}, y) for inputs, y in task.calibration]
    often = replace(task, calibration=few)
    errors = []
    for slope in (1e-4, 1e-6):
        model = rebuild(compress(often, Recipe((CodedEmbedding(slope=slope),))), often)
        rows = model.embed
        assert isinstance(rows, QuantizedRows)
        seen, unseen = rows.row_scale[:3].max(), rows.row_scale[3:].min()
        assert seen < unseen / 2
        errors.append((rows.weight - task.model.embed.weight).square().mean(1))
    assert errors[1][:3].sum() < errors[0][:3].sum() / 5 and errors[1][:3].max() < errors[1][3:].min() / 5


def test_a_table_that_cannot_be_coded_says_why() -> None:
    task = TASKS["dict"]()
    with torch.no_grad():
        task.model.embed.weight[0, 0] = torch.nan
    with pytest.raises(LayerError, match="embed: the table holds NaN"):
        compress(task, Recipe((CodedEmbedding(),)))
    task = TASKS["dict"]()
    task.model.embed.max_norm = 1.0
    assert ["max_norm" in one.reason for one in compress(task, Recipe((CodedEmbedding(),))).declined] == [True]


def test_pressure_makes_weights_zero_and_none_does_not() -> None:
    task = vector_task()
    zeros = []
    for pressure in (0.0, 4.0):
        passes = (EntropyQat(pressure=pressure, epochs=12, learning_rate=5e-3, refresh=2),)
        model = rebuild(compress(task, Recipe(passes)), task)
        codes = torch.cat([layer.shared.codes.flatten() for layer in shared_layers(model).values()])
        zeros.append(float((codes == 0).double().mean()))
    assert zeros[1] > zeros[0] + 0.2


def test_steps_of_outputs_are_above_zero_whatever_the_batch_norm_turned_over() -> None:
    codes = torch.tensor([[[1.0, -2.0]], [[3.0, 0.0]], [[0.0, 0.0]], [[2.0, 1.0]]])
    by_output = torch.tensor([-0.31, 0.72, 0.5, 0.0]).reshape(4, 1, 1)
    turned, step = _steps(codes * by_output, codes, 0.125)
    assert torch.equal(turned, codes * torch.tensor([-1.0, 1.0, 1.0, 0.0]).reshape(4, 1, 1))
    assert torch.allclose(step, torch.tensor([0.31, 0.72, 0.125, 0.125], dtype=torch.double), rtol=1 / 2**MANTISSA_BITS)
    assert torch.equal(step, torch.round(step * 2**8) / 2**8)  # five bits each, the least of them worth 2**-8 here


def test_frozen_weights_are_left_alone() -> None:
    task = image_task()
    conv = next(module for module in task.model.modules() if isinstance(module, nn.Conv2d))
    conv.weight.requires_grad_(False)
    candidate = compress(task, Recipe((EntropyQat(epochs=1),)))
    assert ["frozen" in one.reason for one in candidate.declined] == [True]
    task.model.requires_grad_(False)
    with pytest.raises(NothingToDoError, match="every selected weight is frozen"):
        compress(task, Recipe((EntropyQat(epochs=1),)))


def test_training_leaves_no_hook_and_sees_rounded_weights() -> None:
    task = vector_task()
    candidate = compress(task, Recipe((EntropyQat(epochs=1),)))
    model = rebuild(candidate, task)
    layer = model.get_submodule("first")
    assert torch.equal(layer.weight, layer.shared.codes.float() * layer.shared.scale)
    assert not [p for p in model.parameters() if p._post_accumulate_grad_hooks]
    buffer = io.BytesIO()
    torch.save(dict(candidate.state), buffer)
    assert buffer.tell() > 0


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Kmeans(num_values=1), SettingError),
        (lambda: Kmeans(initialization="circular"), UnknownNameError),  # type: ignore[arg-type]
        (lambda: RateDistortion(slope=0), SettingError),
        (lambda: RateDistortion(coarseness=-1), SettingError),
        (lambda: Spacing(damping=0), SettingError),
        (lambda: CodedEmbedding(unseen=0), SettingError),
        (lambda: EntropyQat(pressure=-1), SettingError),
        (lambda: EntropyQat(rise=0.9), SettingError),
        (lambda: EntropyQat(bias_bits=9), SettingError),
        (lambda: EntropyQat(epochs=0), SettingError),
    ],
)
def test_bad_settings_are_refused(make: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()  # type: ignore[operator]


def test_only_finetune_may_follow_kmeans() -> None:
    Recipe((Kmeans(), Finetune()))
    for step in (WeightOnly(), Kmeans(), RateDistortion()):
        with pytest.raises(OrderError, match=r"share\.kmeans"):
            Recipe((Kmeans(), step))
    with pytest.raises(OrderError, match="finetune"):
        Recipe((RateDistortion(), Finetune()))


def test_unsound_weights_are_named() -> None:
    task = vector_task()
    with torch.no_grad():
        task.model.first.weight[0, 0] = np.nan
    for step in (Kmeans(), EntropyQat()):
        with pytest.raises(LayerError, match="first"):
            compress(task, Recipe((step,)))
    with pytest.raises(LayerError, match="Linear and Conv2d"):
        ShareWeight("", Steps()).apply(nn.Embedding(3, 4))
