"""What each operator of an ONNX file has to compute and to move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import onnx

from paring.engines.protocol import Shapes
from paring.measure.onnx_shapes import Shape, constants_of, value_shapes

Compute = Literal["float", "int8"]
Sizes = Mapping[str, tuple[Shape, int]]

PRODUCTS = {"MatMul", "Gemm", "Conv", "ConvTranspose", "MatMulNBits", "LSTM", "GRU", "RNN"}
INTEGER_PRODUCTS = {"MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv"}
# Computes nothing on numbers of size, or is folded into its neighbours by every engine: it bounds nothing from below.
FREE = {
    "Constant", "Shape", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "QuantizeLinear",
    "DequantizeLinear", "Relu", "Gelu", "Sigmoid", "Tanh", "Clip", "Erf", "LeakyRelu", "HardSwish", "HardSigmoid",
    "Silu", "Swish", "Mish", "Elu", "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Neg", "Exp", "Log", "Where", "IsNaN",
    "And", "Or", "Not", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Max", "Min", "Expand", "Slice",
    "Concat", "Transpose", "Range", "Dropout", "BatchNormalization", "ConstantOfShape", "Split", "Abs", "Floor",
}  # fmt: skip
GATHERS = {"Gather", "GatherElements", "GatherND"}


@dataclass(frozen=True)
class OpWork:
    """Multiply-accumulates, bytes of weights read, bytes of activations read and written."""

    name: str
    kind: str
    outputs: tuple[str, ...]
    compute: Compute
    macs: int
    weight_bytes: float
    activation_bytes: float


def work_of(model: onnx.ModelProto, inputs: Shapes) -> list[OpWork]:
    """Every operator that must take time, in the file's order; 1 MAC = 2 FLOPs.

    Elementwise work, copies and reshapes are left out: engines fold them into their neighbours, so they set no lower
    bound. A weight behind a DequantizeLinear counts at its stored type, a product of two such inputs as int8.
    """
    sizes = value_shapes(model, inputs)
    constants = constants_of(model)
    sources = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    works = []
    for node in model.graph.node:
        if node.op_type in FREE:
            continue
        macs = _macs(node, sizes)
        read, weights = 0.0, 0.0
        for place, name in enumerate(node.input):
            stored = _stored(name, sources)
            taken = _bytes(stored, sizes) if node.op_type not in GATHERS or place else 0.0
            if stored in constants:
                weights += taken
            else:
                read += taken
        written = sum(_bytes(name, sizes) for name in node.output)
        if node.op_type in GATHERS:
            read += written  # the rows it picks, not the table
        integers = node.op_type in INTEGER_PRODUCTS or _is_integer_product(node, sources)
        works.append(
            OpWork(
                node.name or (node.output[0] if node.output else node.op_type),
                node.op_type,
                tuple(node.output),
                "int8" if integers else "float",
                macs,
                weights,
                read + written,
            )
        )
    return works


def _stored(name: str, sources: Mapping[str, onnx.NodeProto]) -> str:
    return sources[name].input[0] if name in sources else name


def _is_integer_product(node: onnx.NodeProto, sources: Mapping[str, onnx.NodeProto]) -> bool:
    return node.op_type in PRODUCTS and len(node.input) > 1 and all(name in sources for name in node.input[:2])


def _bytes(name: str, sizes: Sizes) -> float:
    if name not in sizes:
        return 0.0
    shape, bits = sizes[name]
    return prod(shape) * bits / 8


def _macs(node: onnx.NodeProto, sizes: Sizes) -> int:
    shapes = [sizes.get(name, ((), 0))[0] for name in node.input]
    out = sizes.get(node.output[0], ((), 0))[0] if node.output else ()
    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    match node.op_type:
        case "MatMul" | "MatMulInteger":
            return prod(out) * (shapes[0][-1] if shapes[0] else 0)
        case "QLinearMatMul":
            return prod(out) * (shapes[0][-1] if shapes[0] else 0)
        case "Gemm":
            return prod(out) * (shapes[0][0 if settings.get("transA") else -1] if shapes[0] else 0)
        case "Conv" | "ConvInteger":
            return prod(out) * prod(shapes[1][1:])
        case "QLinearConv":
            return prod(out) * prod(shapes[3][1:])
        case "ConvTranspose":
            return prod(shapes[0]) * prod(shapes[1][1:])
        case "MatMulNBits":
            return prod(out) * int(settings["K"])
        case "LSTM" | "GRU" | "RNN":
            time, batch = shapes[0][:2]
            return time * batch * (prod(shapes[1]) + prod(shapes[2]))
    return 0
