"""What ONNX Runtime makes of a file: the nodes that it will run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime


def kernels_of(file: Path | bytes, folder: Path) -> Counter[str]:
    """How many nodes of each kind ONNX Runtime makes of `file`; leaves `optimized.onnx` in `folder`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    given = file if isinstance(file, bytes) else str(file)
    onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)
