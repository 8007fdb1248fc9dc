"""Quantizers are moved without changing an answer, and engines then pool and look up integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn import functional

from paring import Recipe, Task, compress, rebuild
from paring.artifacts.onnx import write_onnx
from paring.artifacts.quantizers import sink_quantizers
from paring.core.task import Inputs
from paring.measure.metrics import accuracy
from paring.quantize.static import Static

SCALE, ZERO = np.array(0.05, np.float32), np.array(37, np.uint8)


def graph(
    nodes: Sequence[onnx.NodeProto], rank: int, inputs: dict[str, tuple[int, list[int]]], **stored: NDArray[np.generic]
) -> onnx.ModelProto:
    tensors = {"scale": SCALE, "zero": ZERO, **stored}
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
            [numpy_helper.from_array(array, name) for name, array in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
    )


def rounded(value: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [value, "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]


def same(model: onnx.ModelProto, feed: dict[str, NDArray[np.generic]]) -> onnx.GraphProto:
    before = ReferenceEvaluator(model).run(None, feed)[0]
    sink_quantizers(model.graph)
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, feed)[0], before)
    return model.graph


def test_a_pool_gets_rounded_numbers() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        *rounded("f"),
    ]
    x = np.random.default_rng(0).normal(0, 4, (2, 3, 8, 8)).astype(np.float32)
    after = same(graph(nodes, 2, {"x": (TensorProto.FLOAT, [2, 3, 8, 8])}), {"x": x})
    kinds = [node.op_type for node in after.node]
    assert kinds == ["Relu", "QuantizeLinear", "DequantizeLinear", "MaxPool", "Flatten", *kinds[-2:]]


def test_what_is_read_twice_stays_as_it_is() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Add", ["d", "p"], ["y"]),
    ]
    x = np.random.default_rng(0).normal(0, 4, (2, 3, 8, 8)).astype(np.float32)
    after = same(graph(nodes, 4, {"x": (TensorProto.FLOAT, [2, 3, 8, 8])}), {"x": x})
    assert [node.op_type for node in after.node].count("QuantizeLinear") == 1


@pytest.mark.parametrize("shared", [False, True])
def test_tables_behind_a_join_are_stored_as_integers(shared: bool) -> None:
    second = "table" if shared else "other"
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Gather", [second, "ids"], ["b"]),
        helper.make_node("Concat", ["a", "b", "x"], ["j"], axis=1),
        *rounded("j"),
    ]
    rng = np.random.default_rng(0)
    tables = {name: rng.normal(0, 5, (9, 4)).astype(np.float32) for name in ("table", "other")}
    model = graph(nodes, 2, {"ids": (TensorProto.INT64, [3]), "x": (TensorProto.FLOAT, [3, 2])}, **tables)
    feed = {"ids": np.array([0, 8, 3]), "x": rng.normal(0, 5, (3, 2)).astype(np.float32)}
    after = same(model, feed)
    kinds = {tensor.name: tensor.data_type for tensor in after.initializer}
    assert kinds["table"] == (TensorProto.FLOAT if shared else TensorProto.UINT8)
    assert [node.op_type for node in after.node][-1] == "DequantizeLinear"


class Looked(nn.Module):
    """Two tables and numbers, joined and read by a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(size, 8) for size in (5, 7))
        self.body = nn.Sequential(nn.Linear(19, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        found: Tensor = self.body(torch.cat([*(one(ids[:, i]) for i, one in enumerate(self.embed)), numbers], 1))
        return found


def executed(net: nn.Module, inputs: Inputs, path: Path) -> list[tuple[str, str]]:
    """(kind, output type) of every operation that OpenVINO runs for the int8 file."""
    data = [(inputs, torch.zeros(8, dtype=torch.long))]
    task = Task(net.eval(), inputs, data, functional.cross_entropy, accuracy, calibration=data)
    write_onnx(rebuild(compress(task, Recipe((Static(),))), task), task, path)
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    info = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    return [(str(one["layerType"].astype(str)), str(one["outputPrecisions"].astype(str))) for one in info]


def test_openvino_pools_integers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(36, 2)
    )
    assert ("Pooling", "u8") in executed(net, torch.randn(8, 3, 12, 12), tmp_path / "model.onnx")


def test_openvino_looks_integers_up(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ran = executed(Looked(), (torch.randint(0, 5, (8, 2)), torch.randn(8, 3)), tmp_path / "model.onnx")
    assert ran.count(("Gather", "u8")) == 2 and ("Concatenation", "u8") in ran
