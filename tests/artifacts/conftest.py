"""One export of each net, shared by the tests of this folder: an export costs a second."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from paring import Edit, Task, batches
from paring.artifacts.onnx import NodeMap, write_onnx
from paring.quantize.static import Static
from tests.nets import dict_task, image_task, vector_task


class ConvNet(nn.Module):
    """Batch norms, functional and module ReLUs, a depthwise convolution, a Linear at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1, self.relu = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        self.depthwise, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.pointwise = nn.Conv2d(16, 32, 1)
        self.fc1, self.fc2 = nn.Linear(32 * 16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.depthwise(x)))
        x = nn.functional.max_pool2d(torch.relu(self.pointwise(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@dataclass(frozen=True)
class Exported:
    task: Task
    model: nn.Module
    path: Path
    node_map: NodeMap


def task_of(model: nn.Module, x: Tensor) -> Task:
    return replace(vector_task(), model=model.eval(), example_inputs=x[:1], calibration=batches(x, x, 16))


def quantized(task: Task, step: Static | None = None) -> nn.Module:
    model = copy.deepcopy(task.model)
    for item in (step or Static()).run(model, task):
        if isinstance(item, Edit):
            model = item.apply(model)
    return model


def make(name: str) -> tuple[Task, nn.Module]:
    torch.manual_seed(0)
    net, _, kind = name.partition(" ")
    if net == "conv":
        task = task_of(ConvNet(), torch.randn(32, 1, 8, 8))
    elif net == "residual":
        task = image_task()
    elif net == "mlp":
        task = task_of(Mlp(), torch.randn(32, 12))
    else:
        task = dict_task()
    if kind == "float":
        return task, task.model
    return task, quantized(task, Static(weight_range="full") if kind == "int8 full" else None)


CASES = ("conv float", "conv int8", "mlp int8", "dict int8", "residual int8 full")


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    folder = tmp_path_factory.mktemp("exports")
    made = {}
    for name in CASES:
        task, model = make(name)
        path = folder / f"{name.replace(' ', '_')}.onnx"
        made[name] = Exported(task, model, path, write_onnx(model, task, path))
    return made
