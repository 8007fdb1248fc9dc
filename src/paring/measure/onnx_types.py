"""How many bytes ONNX's element types take."""

from __future__ import annotations

from math import prod

import onnx

# Types that pack several elements into a byte, and bfloat16 and float8, which numpy does not know.
BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "BFLOAT16": 16, "BOOL": 8, "STRING": 64}


def element_bits(data_type: int) -> int:
    """Bits of one element; 0 for an undefined type."""
    name = onnx.TensorProto.DataType.Name(data_type)
    if name in BITS:
        return BITS[name]
    if name.startswith("FLOAT8"):
        return 8
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits) if digits else {"FLOAT": 32, "DOUBLE": 64}.get(name, 0)


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of the tensor's numbers alone."""
    return -(-int(prod(tensor.dims)) * element_bits(tensor.data_type) // 8)
