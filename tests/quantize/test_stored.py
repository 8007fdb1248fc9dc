"""Embeddings in integers, weights in half precision, inputs rounded as they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paring import Declined
from paring.artifacts.onnx import write_onnx
from paring.errors import LayerError, SettingError, UnknownNameError
from paring.graph.dialect import range_of
from paring.quantize.cast import Cast
from paring.quantize.dynamic import Dynamic
from paring.quantize.embedding import Embedding
from tests.nets import dict_task, image_task
from tests.passes import output_error, run, task_of


@pytest.mark.parametrize("num_bits", [4, 8])
def test_rows_are_off_by_half_a_step_or_what_clipping_allows(num_bits: int) -> None:
    task = dict_task()
    model, _ = run(Embedding(num_bits=num_bits), task)
    before, after = task.model.embed.weight.detach(), model.embed.weight
    step = before.abs().amax(1, keepdim=True) / (2 ** (num_bits - 1) - 1)
    assert ((before - after) ** 2).mean() <= (step**2).mean() / 10
    if num_bits == 8:
        assert ((before - after).abs() <= step / 2 + 1e-7).all()


class Bags(nn.Module):
    def __init__(self, mode: str, padding_idx: int | None) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(10, 5, mode=mode, padding_idx=padding_idx)
        self.head = nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.bag(ids))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 0])
def test_bags_are_gathered_and_reduced(mode: str, padding_idx: int | None) -> None:
    torch.manual_seed(0)
    model = Bags(mode, padding_idx)
    ids = torch.randint(0, 10, (32, 4))
    ids[0] = 0
    after, _ = run(Embedding(num_bits=8), task_of(model, ids))
    assert output_error(model, after, ids) < 1e-4
    exact = after.bag.weight  # the same bag over the rounded table
    twin = Bags(mode, padding_idx)
    twin.load_state_dict({"bag.weight": exact, **{f"head.{n}": p for n, p in model.head.state_dict().items()}})
    assert torch.allclose(twin(ids), after(ids), atol=1e-5)


def test_tables_that_cannot_be_treated() -> None:
    model = nn.Sequential(nn.Embedding(6, 4, max_norm=1.0), nn.Flatten(), nn.Linear(8, 2))
    ids = torch.randint(0, 6, (8, 2))
    _, done = run(Embedding(), task_of(model, ids))
    assert Declined("0", "it renormalizes its rows (max_norm)") in done
    with pytest.raises(LayerError, match="max_norm"):
        run(Embedding(include=("0",)), task_of(model, ids))
    with pytest.raises(SettingError, match="must be 8 or 4"):
        Embedding(num_bits=2)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_halves_are_stored_and_exact(dtype: str, tmp_path: Path) -> None:
    task = image_task(model=nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 4)))
    model, _ = run(Cast(dtype=dtype), task)  # type: ignore[arg-type]
    write_onnx(model, task, tmp_path / "half.onnx")
    write_onnx(task.model, task, tmp_path / "float.onnx")
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("half", "float")]
    assert sizes[0] < 0.6 * sizes[1]
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert getattr(onnx.TensorProto, {"fp16": "FLOAT16", "bf16": "BFLOAT16"}[dtype]) in kinds
    x = task.example_inputs
    assert isinstance(x, Tensor)
    session = ort.InferenceSession(tmp_path / "half.onnx")
    assert np.allclose(session.run(None, {"inputs": x.numpy()})[0], model(x).detach().numpy(), atol=1e-5)


def test_a_weight_beyond_half_precision_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with torch.no_grad():
        model[0].weight[0, 0] = 1e6
    task = task_of(model, torch.randn(8, 3))
    with pytest.raises(LayerError, match=r"quantize\.cast: 0: a weight is beyond what fp16 holds\. Use bf16"):
        run(Cast(), task)
    run(Cast(dtype="bf16"), task)
    with pytest.raises(UnknownNameError, match="fp8"):
        Cast(dtype="fp8")  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20))
def test_the_range_is_chosen_as_onnx_chooses_it(values: list[float]) -> None:
    from onnx.reference.ops.op_dynamic_quantize_linear import DynamicQuantizeLinear

    x = np.array(values, np.float32)
    _, step, zero = DynamicQuantizeLinear.eval(x)
    ours = range_of(torch.from_numpy(x))
    if x.min() != x.max() or x.max() != 0:
        assert float(ours[0]) == pytest.approx(float(step), rel=1e-5)
        assert abs(float(ours[1]) - float(zero)) <= 1


def test_dynamic_layers_stay_close_and_zero_stays_zero() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(64, 24)
    after, _ = run(Dynamic(), task_of(model, x))
    assert output_error(model, after, x) < 1e-4
    assert torch.allclose(after(torch.zeros(2, 24)), model(torch.zeros(2, 24)), atol=5e-3)


def test_without_clipping_the_largest_number_of_a_row_is_kept() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 64), nn.Flatten(), nn.Linear(128, 2))
    with torch.no_grad():
        model[0].weight[:, 0] = 8.0
    ids, kept = torch.randint(0, 6, (4, 2)), {}
    for clip in (True, False):
        after, _ = run(Embedding(num_bits=4, clip=clip), task_of(model, ids))
        kept[clip] = float(after.get_submodule("0")(ids)[..., 0].min())
    assert kept[False] == pytest.approx(8.0) and kept[True] < 7.5
