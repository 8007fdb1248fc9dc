"""Operations of our own as standard ONNX, and what the exporter cannot say: INT4 and half-precision initializers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import numpy_helper

from paring.graph.shared import SharedLayer
from paring.graph.weight_only import DynamicLinear, WeightOnlyLayer

OPSET_FOR_BLOCKS = 21  # the first whose DequantizeLinear knows blocks and INT4
FLOAT, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
HALVES = {
    "fp16": (np.dtype(np.float16), onnx.TensorProto.FLOAT16),
    "bf16": (np.dtype(ml_dtypes.bfloat16), onnx.TensorProto.BFLOAT16),
}
CODES = "codes"  # how the integers of shared weights are called
WORTH_BYTES = 256  # below this a Cast node costs more than it saves


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Operation -> its ONNX, for `torch.onnx.export(custom_translation_table=...)`."""
    from onnxscript import opset21 as op

    def dequantize_blocks(q: Any, scale: Any, zero_point: Any = None, axis: int = 0, group_size: int = 0) -> Any:
        return op.DequantizeLinear(q, scale, zero_point, axis=axis, block_size=group_size)

    def dynamic_linear(x: Any, q: Any, scale: Any) -> Any:
        x_q, step, zero_point = op.DynamicQuantizeLinear(x)
        products = op.Cast(op.MatMulInteger(x_q, q, zero_point), to=FLOAT)
        return op.Mul(products, op.Mul(step, scale))

    def kept(codes: Any) -> Any:
        # The exporter folds small casts into float weights and leaves this operation alone; `free_codes` takes it out.
        return op.DequantizeLinear(codes, op.Constant(value_float=1.0))

    def lookup(table: Any, codes: Any) -> Any:
        return op.Gather(table, op.Cast(kept(codes), to=INT32))

    def grid_values(codes: Any, scale: Any) -> Any:
        # By way of INT32: OpenVINO takes INT8 times a scale for a quantized weight, and gets scales by input wrong.
        return op.Mul(op.Cast(op.Cast(kept(codes), to=INT32), to=FLOAT), scale)

    table = torch.ops.paring
    return {
        table.dequantize_blocks.default: dequantize_blocks,
        table.dynamic_linear.default: dynamic_linear,
        table.lookup.default: lookup,
        table.grid_values.default: grid_values,
    }


def opset_for(model: torch.nn.Module) -> int | None:
    """The opset that the file needs; None for the exporter's own choice."""
    ours = any(isinstance(module, WeightOnlyLayer | DynamicLinear | SharedLayer) for module in model.modules())
    return OPSET_FOR_BLOCKS if ours else None


def free_codes(graph: onnx.GraphProto) -> None:
    """Takes out what kept the codes of shared weights from being folded; engines fold what is left when they load."""
    stored = {tensor.name for tensor in graph.initializer if tensor.name.rpartition(".")[2] == CODES}
    keepers = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    codes = {node.output[0]: node.input[0] for node in keepers}
    for node in keepers:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [codes.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def pack_int4(graph: onnx.GraphProto) -> None:
    """Stores integers of at most 4 bits, which the exporter can only hold as INT8, as INT4."""
    for tensor in graph.initializer:
        if tensor.name.rpartition(".")[2].startswith("packed_") and tensor.data_type == onnx.TensorProto.INT8:
            numbers = numpy_helper.to_array(tensor).flatten().astype(np.uint8) & 15
            numbers = np.append(numbers, np.zeros(len(numbers) % 2, np.uint8))
            tensor.raw_data = (numbers[0::2] | (numbers[1::2] << 4)).astype(np.uint8).tobytes()
            tensor.data_type = onnx.TensorProto.INT4


def store_half(graph: onnx.GraphProto, dtype: str) -> list[onnx.NodeProto]:
    """Stores float initializers that fit `dtype` without loss in it; returns the new Cast nodes, now in the graph."""
    numpy_type, onnx_type = HALVES[dtype]
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != FLOAT:
            continue
        numbers = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = numbers.astype(numpy_type)
        if numbers.nbytes < WORTH_BYTES or not np.array_equal(half.astype(np.float32), numbers):
            continue
        name = tensor.name
        tensor.name = f"{name}.{dtype}"
        tensor.ClearField("float_data")
        tensor.raw_data, tensor.data_type = half.tobytes(), onnx_type
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return list(graph.node[: len(casts)])
