"""One small file and the module it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
linear (float[batch, 4] x) => (float[batch, 3] y) { y = Gemm<transB = 1>(x, W, b) }
"""


@pytest.fixture(scope="session")
def linear() -> nn.Linear:
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(12.0).reshape(3, 4) / 10)
        layer.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    return layer.eval()


@pytest.fixture(scope="session")
def linear_file(linear: nn.Linear, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = W x + b, x (batch, 4), y (batch, 3)."""
    model = onnx.parser.parse_model(TEXT)
    for name, tensor in (("W", linear.weight), ("b", linear.bias)):
        model.graph.initializer.append(numpy_helper.from_array(tensor.detach().numpy(), name))
    path = tmp_path_factory.mktemp("onnx") / "linear.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
