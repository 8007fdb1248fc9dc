"""ONNX graphs from ONNX's own text form, with weights of a given shape and type."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import numpy_helper

HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\n'


def graph(text: str, **weights: tuple[tuple[int, ...], DTypeLike]) -> onnx.ModelProto:
    """The graph `text` with an initializer of ones for each of `weights`: name -> (shape, dtype).

    The text form knows no dots in names: `fc1__weight` stands for `fc1.weight`.
    """
    model = onnx.parser.parse_model(HEAD + text)
    for node in model.graph.node:
        node.input[:] = [name.replace("__", ".") for name in node.input]
    for name, (shape, dtype) in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, dtype), name))
    return model


MLP = """mlp (float[batch, 4] x) => (float[batch, 3] y) {
    h = Gemm<transB = 1>(x, fc1__weight, fc1__bias)
    r = Relu(h)
    y = Gemm<transB = 1>(r, fc2__weight, fc2__bias)
}"""


def mlp() -> onnx.ModelProto:
    """x (batch, 4) -> 8 -> ReLU -> 3, all float32."""
    shapes = {"fc1.weight": (8, 4), "fc1.bias": (8,), "fc2.weight": (3, 8), "fc2.bias": (3,)}
    return graph(MLP, **{name: (shape, np.float32) for name, shape in shapes.items()})


Q_MLP = """mlp (float[batch, 4] x) => (float[batch, 3] y) {
    xq = QuantizeLinear(x, s, zu)
    xd = DequantizeLinear(xq, s, zu)
    w1d = DequantizeLinear(w1, s, zs)
    h = Gemm<transB = 1>(xd, w1d)
    r = Relu(h)
    rq = QuantizeLinear(r, s, zu)
    rd = DequantizeLinear(rq, s, zu)
    w2d = DequantizeLinear(w2, s, zs)
    w2t = Transpose<perm = [1, 0]>(w2d)
    y = MatMul(rd, w2t)
}"""


def quantized_mlp() -> onnx.ModelProto:
    """The same in int8 without biases, as it is exported: quantize/dequantize around float products."""
    return graph(
        Q_MLP, w1=((8, 4), np.int8), w2=((3, 8), np.int8), s=((), np.float32), zu=((), np.uint8), zs=((), np.int8)
    )
