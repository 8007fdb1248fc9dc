"""ONNX Runtime runs the clock's small files in the kernels in which it runs exported models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paring.artifacts.onnx import write_onnx
from paring.clock.chain import Chain, Conv, Gather, Gemm
from paring.clock.file import chain_file
from paring.core.recipe import Pass
from paring.quantize.embedding import Embedding
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
TABLES: list[tuple[Pass | None, dict[str, Any]]] = [
    (None, {}),
    (Embedding(num_bits=8), {"stored_bits": 8}),
    (Embedding(num_bits=4), {"stored_bits": 4}),
]
CONVOLUTIONS = (Conv(4, 8, (3, 3), padding=(1, 1, 1, 1)), Conv(8, 8, (3, 3), padding=(1, 1, 1, 1)))


def kinds(file: Path | bytes, folder: Path) -> Counter[str]:
    """How many nodes of each kind ONNX Runtime runs, activations aside."""
    counts: Counter[str] = Counter()
    for kind, count in kernels_of(file, folder).items():
        counts[ALIKE.get(kind, kind)] += count
    return Counter({kind: count for kind, count in counts.items() if kind not in AWAY})


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
    path = exported(chain, shape, step, tmp_path / "model.onnx")
    assert kinds(chain_file(chain, shape, **settings), tmp_path) == kinds(path, tmp_path)


@pytest.mark.parametrize(("step", "settings"), TABLES, ids=["fp32", "stored 8", "stored 4"])
@pytest.mark.parametrize("width", [8, 7])
def test_the_kernels_of_exported_tables(
    width: int, step: Pass | None, settings: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, ids = nn.Sequential(nn.Embedding(30, width)).eval(), torch.randint(0, 30, (8, 5))
    task = task_of(model, ids)
    write_onnx(run(step, task)[0] if step else model, task, tmp_path / "model.onnx")
    chain = (Gather(30, width),)
    assert kinds(chain_file(chain, (1, 5), **settings), tmp_path) == kinds(tmp_path / "model.onnx", tmp_path)
