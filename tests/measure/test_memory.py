from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from paring.core.target import Target
from paring.errors import EngineError
from paring.measure.memory import peak_memory_bytes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")

TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
wide (float[batch, 64] x) => (float[batch, wide] y) { y = MatMul(x, W) }
"""
WEIGHT_BYTES = 64 * 131_072 * 4  # 32 MiB


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_peak_memory_holds_the_weights_but_not_the_engine(engine: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(TEXT)
    weight = np.random.default_rng(0).random((64, 131_072), dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "W"))
    onnx.save(model, tmp_path / "wide.onnx")
    peak = peak_memory_bytes(tmp_path / "wide.onnx", Target(engine=engine), {"x": np.ones((1, 64), np.float32)})
    assert WEIGHT_BYTES < peak < 5 * WEIGHT_BYTES


def test_a_failure_in_the_other_process_is_told(linear_file: Path, x: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"the process that ran it failed: .*it has no input 'z'"):
        peak_memory_bytes(linear_file, Target(), {"z": x})
