"""ONNX Runtime runs the clock's small files in the kernels in which it runs exported models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paring.artifacts.onnx import write_onnx
from paring.clock.chain import Chain, Conv, Gemm
from paring.clock.file import chain_file
from paring.core.recipe import Pass
from paring.quantize.static import Static
from paring.quantize.weight_only import WeightOnly
from tests.kernels import kernels_of
from tests.passes import run, task_of

AWAY = {"Relu"}  # the clock's chains have no activations
ALIKE = {"FusedGemm": "Gemm", "FusedConv": "Conv", "FusedMatMul": "MatMul"}  # with an activation in it
PRECISIONS: list[tuple[Pass | None, dict[str, Any]]] = [
    (None, {}),
    (Static(), {"int8": True}),
    (WeightOnly(num_bits=8), {"stored_bits": 8}),
    (WeightOnly(num_bits=4), {"stored_bits": 4}),
]
LINEARS = (Gemm(64, 96), Gemm(96, 96), Gemm(96, 32))
CONVOLUTIONS = (Conv(4, 8, (3, 3), padding=(1, 1, 1, 1)), Conv(8, 8, (3, 3), padding=(1, 1, 1, 1)))


def exported(chain: Chain, shape: tuple[int, ...], step: Pass | None, path: Path) -> Path:
    """`chain` as a model with a ReLU between, through a pass and the exporter."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for op in chain:
        layers += [nn.ReLU()] if layers else []
        if isinstance(op, Gemm):
            layers += [nn.Linear(op.num_in, op.num_out)]
        elif isinstance(op, Conv):
            layers += [nn.Conv2d(op.num_in, op.num_out, op.kernel, padding=1)]
    model = nn.Sequential(*layers).eval()
    task = task_of(model, torch.randn(8, *shape[1:]))
    write_onnx(run(step, task)[0] if step else model, task, path)
    return path


@pytest.mark.parametrize(("step", "settings"), PRECISIONS, ids=["fp32", "int8", "stored 8", "stored 4"])
@pytest.mark.parametrize(
    ("chain", "shape"), [(LINEARS, (1, 64)), (LINEARS, (1, 4, 64)), (CONVOLUTIONS, (1, 4, 16, 16))]
)
def test_the_kernels_of_exported_files(
    chain: Chain, shape: tuple[int, ...], step: Pass | None, settings: dict[str, Any], tmp_path: Path
) -> None:
    def kinds(file: Path | bytes) -> Counter[str]:
        counts: Counter[str] = Counter()
        for kind, count in kernels_of(file, tmp_path).items():
            counts[ALIKE.get(kind, kind)] += count
        return Counter({kind: count for kind, count in counts.items() if kind not in AWAY})

    path = exported(chain, shape, step, tmp_path / "model.onnx")
    assert kinds(chain_file(chain, shape, **settings)) == kinds(path)
