"""Small ONNX files, made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_files import floats, save


@pytest.fixture(scope="session")
def affine_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x (batch, 3), offset (3,) int64 -> x @ W + offset, and x summed: W[i, j] = i - j."""
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["product"]),
        helper.make_node("Cast", ["offset"], ["shift"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["product", "shift"], ["y"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
    ]
    weight = np.subtract.outer(np.arange(3), np.arange(3)).astype(np.float32)
    inputs = [floats("x", "batch", 3), helper.make_tensor_value_info("offset", TensorProto.INT64, [3])]
    path = tmp_path_factory.mktemp("onnx") / "affine.onnx"
    return save(path, nodes, inputs, [floats("y", "batch", 3), floats("total")], {"W": weight})


@pytest.fixture(scope="session")
def saturating_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[[np.ndarray], np.ndarray]]:
    """A u8 x s8 product whose pairs overflow 16 bits, with the right answer as a function of x (batch, 64)."""
    weight = np.full((64, 8), 127, np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "x_scale", "x_zero"], ["x_d"]),
        helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w_d"], axis=1),
        helper.make_node("MatMul", ["x_d", "w_d"], ["y"]),
    ]
    weights = {
        "x_scale": np.float32(1 / 255), "x_zero": np.uint8(0), "w_q": weight,
        "w_scale": np.full(8, 1 / 127, np.float32), "w_zero": np.zeros(8, np.int8),
    }  # fmt: skip
    path = tmp_path_factory.mktemp("onnx") / "saturating.onnx"
    save(path, nodes, [floats("x", "batch", 64)], [floats("y", "batch", 8)], weights)
    return path, lambda x: np.round(x * 255) / 255 @ (weight / 127.0)
