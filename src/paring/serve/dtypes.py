"""Data types under the names of the protocol."""

from __future__ import annotations

import numpy as np

from paring.errors import EngineError

NAMES = {
    "BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    **{f"{sign.upper()}INT{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
DTYPES = {name: np.dtype(kind) for name, kind in NAMES.items()}
_NAME_OF = {dtype: name for name, dtype in DTYPES.items()}


def name_of(dtype: np.dtype[np.generic]) -> str:
    """`FP32` for float32. Raises EngineError for a type that the protocol cannot carry."""
    if dtype not in _NAME_OF:
        raise EngineError(f"{dtype} has no name in the Open Inference Protocol; known: {', '.join(NAMES)}.")
    return _NAME_OF[dtype]
