"""How many bytes of an ONNX file, and how much of its time, belong to which layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx

BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "BOOL": 8}


def layer_bytes(path: Path, nodes: Mapping[str, str], layers: Sequence[str]) -> dict[str, int]:
    """Layer name -> bytes of its stored tensors; under "" what belongs to none of `layers`. Weights are not read.

    A tensor belongs to the layer its name begins with; where the exporter named it (`val_4`), to the layer of the node
    that reads it, by `nodes` (nodes.json).
    """
    graph = onnx.load(str(path), load_external_data=False).graph
    readers = {name: nodes.get(node.name, "") for node in graph.node for name in node.input}
    found: dict[str, int] = {}
    for tensor in graph.initializer:
        layer = owner(tensor.name, layers) or owner(readers.get(tensor.name, "") + ".", layers)
        found[layer] = found.get(layer, 0) + _bytes(tensor)
    return found


def layer_ms(ops: Sequence[Mapping[str, Any]], layers: Sequence[str]) -> dict[str, float]:
    """Layer name -> milliseconds of its operators (`{"module", "ms"}`, ...) in the engine's own profile."""
    found: dict[str, float] = {}
    for op in ops:
        layer = owner(f"{op['module']}.", layers)
        found[layer] = found.get(layer, 0.0) + float(op["ms"])
    return found


def owner(tensor: str, layers: Sequence[str]) -> str:
    """The layer, or the part of one (`fc.0` of `fc`), that `tensor` stands in: the longest name that fits, or ""."""
    return max((layer for layer in layers if tensor.startswith(f"{layer}.")), key=len, default="")


def _bytes(tensor: onnx.TensorProto) -> int:
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    bits = BITS.get(kind) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return (int(prod(tensor.dims)) * bits + 7) // 8
