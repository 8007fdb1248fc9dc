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


# What engines do to a constant once, when they load the file.
AT_LOAD = {"DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"}


@dataclass(frozen=True)
class OpWork:
    """Multiply-accumulates, bytes of each stored weight it reads, bytes of activations read and written."""

    name: str
    kind: str
    outputs: tuple[str, ...]
    compute: Compute
    macs: int
    weights: Mapping[str, float]
    activation_bytes: float

    @property
    def weight_bytes(self) -> float:
        """Of all its weights together."""
        return sum(self.weights.values())


def work_of(model: onnx.ModelProto, inputs: Shapes, *, float_bits: int = 32) -> list[OpWork]:
    """Every operator that must take time, in the file's order; 1 MAC = 2 FLOPs.

    Elementwise work, copies and reshapes are left out: engines fold them into their neighbours, so they set no lower
    bound. A weight counts at its stored type whatever is done to it at load, a product of two dequantized inputs as
    int8, and an output that is only quantized as the integers it leaves as.

    Args:
        float_bits: bits that the engine keeps a 32-bit number in, 16 where it computes in bf16 or fp16.
    Raises: EngineError for input shapes that do not fit the file.
    """
    graph = _Graph(model, inputs, float_bits)
    return [_work(node, graph) for node in model.graph.node if node.op_type not in FREE]


class _Graph:
    """Who makes a value, who reads it, and how large it is."""

    def __init__(self, model: onnx.ModelProto, inputs: Shapes, float_bits: int) -> None:
        self.sizes: Sizes = value_shapes(model, inputs)
        self.float_bits = float_bits
        self.constants = constants_of(model)
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto | None]] = {value.name: [None] for value in model.graph.output}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def bytes_of(self, name: str) -> float:
        shape, bits = self.sizes.get(name, ((), 0))
        return prod(shape) * (min(bits, self.float_bits) if bits == 32 else bits) / 8

    def stored(self, name: str) -> str | None:
        """The constant behind `name`, if there is one."""
        while name not in self.constants:
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in AT_LOAD:
                return None
            name = maker.input[0]
        return name

    def is_dequantized(self, name: str) -> bool:
        maker = self.makers.get(name)
        while maker is not None and maker.op_type in AT_LOAD:
            if maker.op_type == "DequantizeLinear":
                return True
            maker = self.makers.get(maker.input[0])
        return False

    def read_bytes(self, name: str) -> float:
        maker = self.makers.get(name)
        return self.bytes_of(maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else name)

    def written_bytes(self, name: str) -> float:
        behind = name
        while len(readers := self.readers.get(behind, [])) == 1 and readers[0] is not None:
            if readers[0].op_type == "QuantizeLinear":
                return min(self.bytes_of(readers[0].output[0]), self.bytes_of(name))
            if readers[0].op_type not in FREE:
                break
            behind = readers[0].output[0]
        return self.bytes_of(name)


def _work(node: onnx.NodeProto, graph: _Graph) -> OpWork:
    gathers = node.op_type in GATHERS
    weights: dict[str, float] = {}
    read = 0.0
    for name in node.input[1:] if gathers else node.input:
        stored = graph.stored(name)
        if stored is None:
            read += graph.read_bytes(name)
        else:
            weights[stored] = graph.bytes_of(stored)
    written = sum(graph.written_bytes(name) for name in node.output)
    if gathers:
        read += sum(graph.bytes_of(name) for name in node.output)  # the rows it picks, not the table
    dequantized = len(node.input) > 1 and all(graph.is_dequantized(name) for name in node.input[:2])
    integers = node.op_type in INTEGER_PRODUCTS or (node.op_type in PRODUCTS and dequantized)
    name = node.name or (node.output[0] if node.output else node.op_type)
    compute: Compute = "int8" if integers else "float"
    return OpWork(name, node.op_type, tuple(node.output), compute, _macs(node, graph.sizes), weights, read + written)


def _macs(node: onnx.NodeProto, sizes: Sizes) -> int:
    shapes = [sizes.get(name, ((), 0))[0] for name in node.input]
    out = sizes.get(node.output[0], ((), 0))[0] if node.output else ()
    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    match node.op_type:
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
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
