"""Average pools: what they read is rounded where asked, and the convolution before one then runs in integers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.artifacts.onnx import write_onnx
from paring.artifacts.verify import check_parity
from paring.core.target import EngineName, Target
from paring.core.task import Task
from paring.engines import open_session
from paring.graph.operands import find_operands
from paring.quantize.static import Static
from tests.kernels import kernels_of
from tests.quantize.test_static import run, task_of

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def pooled() -> Task:
    torch.manual_seed(0)
    return task_of(
        nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(16, 4),
        ),
        IMAGES,
    )  # fmt: skip


class Written(nn.Module):
    """The mean as people write it."""

    def forward(self, x: Tensor) -> Tensor:
        rows = functional.avg_pool2d(x, 2) + x.mean((2, 3), keepdim=True)
        return torch.mean(rows, dim=(2, 3)) + rows.flatten(1).mean(1, keepdim=True)


def test_pools_are_found_however_they_are_written() -> None:
    task = pooled()
    found = find_operands(task.model, task.example_inputs, task.dynamic_dims)
    assert [(one.module, one.kind) for one in found] == [("5", "pool")]
    kinds = [one.kind for one in find_operands(Written().eval(), IMAGES, (0,))]
    assert kinds == ["pool", "pool", "add", "pool", "add"]


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


def test_an_operation_belongs_to_the_innermost_module_alone() -> None:
    found = find_operands(nn.Sequential(Block(), Block()).eval(), IMAGES, (0,))
    assert [(one.module, one.kind) for one in found] == [("0", "add"), ("1", "add")]

    class Attending(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.scaled_dot_product_attention(x, x, x)

    nested = nn.Sequential(nn.Sequential(Attending())).eval()
    found = find_operands(nested, torch.randn(2, 4, 8), (0,))
    assert [(one.module, one.kind) for one in found] == [("0.0", "attention")]


def heavy(task: Task, step: Static, path: Path) -> Counter[str]:
    """What multiplies in the graph that ONNX Runtime executes."""
    model, _ = run(step, task)
    write_onnx(model, task, path)
    for engine in ("onnxruntime", "openvino"):
        name: EngineName = engine  # type: ignore[assignment]
        assert check_parity(open_session(path, Target(name), exact=True), model, task) < 0.01
    return kernels_of(path, path.parent)


@pytest.mark.parametrize(("placement", "integers"), [("inputs", 1), ("pools", 2)])
def test_the_convolution_before_a_pool_runs_in_integers_in_onnxruntime(
    placement: str, integers: int, tmp_path: Path
) -> None:
    found = heavy(pooled(), Static(placement=placement), tmp_path / "m.onnx")  # type: ignore[arg-type]
    assert found["QLinearConv"] == integers


def test_the_clock_tries_them() -> None:
    task = pooled()
    found = find_operands(task.model, task.example_inputs, task.dynamic_dims)
    assert [way.placement for way in Static(placement="clock").ways(found)] == ["inputs", "pools"]
