from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from paring.artifacts.onnx import input_names, write_onnx
from paring.errors import ExportError
from paring.graph.quantized import QuantizedLayer
from tests.artifacts.conftest import CASES, Exported, Mlp, make, task_of


@pytest.mark.parametrize("name", CASES)
def test_file_has_one_output_and_free_batch_and_nothing_else(exports: dict[str, Exported], name: str) -> None:
    done = exports[name]
    proto = onnx.load(done.path)
    onnx.checker.check_model(proto, full_check=True)
    expected = ["tokens", "mask"] if name.startswith("dict") else ["inputs"]
    assert [value.name for value in proto.graph.input] == expected
    assert [value.name for value in proto.graph.output] == ["output"]
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not proto.metadata_props and not proto.graph.value_info
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert {entry.name for entry in done.path.parent.iterdir()} == {f"{case.replace(' ', '_')}.onnx" for case in CASES}


@pytest.mark.parametrize("name", CASES)
def test_every_node_has_its_module(exports: dict[str, Exported], name: str) -> None:
    done = exports[name]
    nodes = {node.name: node.op_type for node in onnx.load(done.path).graph.node}
    assert nodes.keys() == done.node_map.keys()
    modules = dict(done.model.named_modules())
    assert set(done.node_map.values()) <= modules.keys()
    if name != "conv float":  # there the exporter folds the norms, and the node is the norm's
        heavy = {done.node_map[node] for node, kind in nodes.items() if kind in ("Conv", "Gemm", "MatMul")}
        assert heavy == {path for path, module in modules.items() if isinstance(module, QuantizedLayer)}


def test_integers_are_a_quarter_of_the_floats(exports: dict[str, Exported]) -> None:
    sizes = {name: exports[name].path.stat().st_size for name in ("conv float", "conv int8")}
    weights = sum(tensor.numel() for tensor in exports["conv float"].model.parameters())
    assert sizes["conv float"] < 4 * weights + 4000
    assert sizes["conv int8"] < weights + 5000


def test_same_weights_give_same_bytes_and_the_model_is_left_alone(exports: dict[str, Exported], tmp_path: Path) -> None:
    task, model = make("mlp int8")
    scale = model.layers[0].input_scale
    write_onnx(model.train(), task, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exports["mlp int8"].path.read_bytes()
    assert model.training and model.layers[0].input_scale is scale


def test_the_memory_format_of_model_and_inputs_leaves_no_trace(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    task = task_of(model, torch.randn(2, 3, 8, 8))
    write_onnx(model, task, tmp_path / "contiguous.onnx")
    last = {"memory_format": torch.channels_last}
    task = replace(task, example_inputs=task.example_inputs.to(**last))
    write_onnx(model.to(**last), task, tmp_path / "last.onnx")
    assert (tmp_path / "last.onnx").read_bytes() == (tmp_path / "contiguous.onnx").read_bytes()
    assert model[0].weight.is_contiguous(**last) and not model[0].weight.is_contiguous()


def test_names_of_inputs() -> None:
    class Three(nn.Module):
        def forward(self, ids: Tensor, scale: float, mask: Tensor, *more: Tensor) -> Tensor:
            return ids

    x = torch.ones(2, 3)
    assert input_names(Three(), x) == ("inputs",)
    assert input_names(Three(), (x, 2.0, x, x)) == ("ids", "mask", "inputs_3")
    assert input_names(Three(), {"mask": x, "scale": 2.0, "ids": x}) == ("mask", "ids")


def test_constants_among_the_inputs_and_a_free_second_dimension(tmp_path: Path) -> None:
    class Sequence(nn.Module):
        def forward(self, x: Tensor, *, mean: bool, bias: Tensor) -> dict[str, Tensor]:
            return {"logits": (x.mean(1) if mean else x.sum(1)) + bias.mean(1)}

    x = torch.ones(1, 1, 4)
    inputs = {"x": x, "mean": True, "bias": x}
    task = replace(
        make("mlp float")[0], example_inputs=inputs, dynamic_dims=(0, 1), output=lambda answer: answer["logits"]
    )
    write_onnx(Sequence(), task, tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    dims = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input]
    assert [value.name for value in graph.input] == ["x", "bias"]
    assert all(d[0] == "batch" and isinstance(d[1], str) and d[2] == 4 for d in dims)


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 12)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigh(x[:, :, None] * x[:, None, :])[0]


class FloatBehindQuantizer(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        q = torch.ops.quantized_decomposed.quantize_per_tensor(self.layers[0].weight, 0.1, 0, -127, 127, torch.int8)
        weight = torch.ops.quantized_decomposed.dequantize_per_tensor(q, 0.1, 0, -127, 127, torch.int8)
        return nn.functional.linear(x, weight)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Fixed(), "inputs: the model fixes dimension 0 at 2"),
        (Branch(), r"cannot be traced for export: its control flow .*test_onnx\.py"),
        (Unknown(), "converted to ONNX: .*linalg_eigh"),
        (FloatBehindQuantizer(), r"layers\.0\.weight: a float weight behind a quantizer"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(model: nn.Module, message: str, tmp_path: Path) -> None:
    task = task_of(model, torch.randn(4, 12))
    with pytest.raises(ExportError, match=message) as caught:
        write_onnx(model, task, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
