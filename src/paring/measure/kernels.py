"""Small ONNX files that keep one kind of kernel busy: products in fp32 and int8, convolutions, and next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Kind = Literal["fp32", "int8"]
OPSET = 21


@dataclass(frozen=True)
class Kernel:
    """One file's input, and the multiply-accumulates of a call."""

    name: str
    kind: Kind
    macs: int
    x: NDArray[np.generic]


# Shapes that engines like: square, tall, and a feed-forward layer.
PRODUCTS = ((512, 512, 512), (256, 1024, 1024), (128, 384, 1536))
CONVOLUTIONS = ((8, 64, 32), (4, 256, 14))  # batch, channels in and out, height and width; 3 x 3


def write_product(path: Path, rows: int, inner: int, columns: int, kind: Kind) -> Kernel:
    """y (rows, columns) = x (rows, inner) W (inner, columns); int8 is unsigned x, signed W, as both engines prefer."""
    weight = _weight((inner, columns), kind)
    x = _input((rows, inner), kind)
    _write(path, "MatMul", x, weight, (rows, columns), {})
    return Kernel(f"product {rows}x{inner}x{columns}", kind, rows * inner * columns, x)


def write_convolution(path: Path, batch: int, channels: int, size: int, kind: Kind) -> Kernel:
    """A 3 x 3 convolution of x (batch, channels, size, size), padding 1."""
    weight = _weight((channels, channels, 3, 3), kind)
    x = _input((batch, channels, size, size), kind)
    _write(path, "Conv", x, weight, x.shape, {"pads": [1, 1, 1, 1]})
    macs = batch * size * size * channels * channels * 9
    return Kernel(f"convolution {batch}x{channels}x{size}x{size}", kind, macs, x)


def write_nothing(path: Path) -> NDArray[np.generic]:
    """A file whose call costs what a call costs: one ReLU of one number. Returns its input."""
    x = np.ones((1, 1), np.float32)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "nothing", values[:1], values[1:])
    _save(graph, path)
    return x


def _input(shape: tuple[int, ...], kind: Kind) -> NDArray[np.generic]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, shape, np.uint8) if kind == "int8" else rng.random(shape, np.float32)


def _weight(shape: tuple[int, ...], kind: Kind) -> NDArray[np.generic]:
    rng = np.random.default_rng(1)
    return rng.integers(-63, 63, shape, np.int8) if kind == "int8" else rng.random(shape, np.float32)


def _write(
    path: Path,
    op: str,
    x: NDArray[np.generic],
    weight: NDArray[np.generic],
    out: tuple[int, ...],
    settings: dict[str, list[int]],
) -> None:
    stored: dict[str, Any] = {"W": weight}
    nodes = []
    names = ["x", "W"]
    if weight.dtype == np.int8:
        stored |= {"s": np.float32(0.01), "zx": np.uint8(128), "zw": np.int8(0), "sy": np.float32(1.0)}
        nodes.append(helper.make_node("DequantizeLinear", ["x", "s", "zx"], ["xf"]))
        nodes.append(helper.make_node("DequantizeLinear", ["W", "s", "zw"], ["Wf"]))
        names = ["xf", "Wf"]
    kind = TensorProto.UINT8 if weight.dtype == np.int8 else TensorProto.FLOAT
    nodes.append(helper.make_node(op, names, ["yf" if weight.dtype == np.int8 else "y"], **settings))
    if weight.dtype == np.int8:
        nodes.append(helper.make_node("QuantizeLinear", ["yf", "sy", "zx"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "kernel",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, out)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    _save(graph, path)


def _save(graph: onnx.GraphProto, path: Path) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), str(path))
