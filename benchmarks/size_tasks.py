"""The nets of the size benchmark: LeNet-300-100 trained here, LeNet-5 with the shared weights, ResNet-20 on JPEGs."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from paring import Task, batches
from paring.core.stream import drain
from paring.data.files import find_file
from paring.data.mnist import mnist
from paring.studies.demo import image_task
from paring.studies.nets import mlp
from paring.studies.teachers import trained
from paring.train import Training

LENET5 = "weights/lenet5-caffe-mnist.safetensors"
LENET5_SHA256 = "8af8fc80b7e3f4e61e2aab1fd8b85bf2179e37559b8cd9b9015444bf063173af"


class LeNet5(nn.Module):
    """The LeNet-5 of Caffe: ReLU only behind ip1; inputs in [0, 1], which its weights want as x / 256 of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """(b, 1, 28, 28) -> logits (b, 10)."""
        x = F.max_pool2d(self.conv2(F.max_pool2d(self.conv1(inputs), 2)), 2)
        return self.ip2(F.relu(self.ip1(x.flatten(1))))


def lenet300(seed: int = 0) -> Task:
    """LeNet-300-100, trained here with weight decay; 20 epochs, cached."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp()
    task = _task(f"lenet-300-100-{seed}", model, seed)
    return drain(trained(task, Training(epochs=20, learning_rate=2e-3, weight_decay=0.05)))


def lenet5(seed: int = 0) -> Task:
    """LeNet-5 with the shared weights."""
    state = load_file(find_file(LENET5, LENET5_SHA256))
    model = LeNet5()
    model.load_state_dict(state)
    # The weights want bytes / 256 and our loader gives bytes / 255.
    with torch.no_grad():
        model.conv1.weight.mul_(255 / 256)
    return _task("lenet-5", model.eval(), seed)


def _task(name: str, model: nn.Module, seed: int) -> Task:
    """MNIST, calibrated on the first 5,000 training images."""
    splits = mnist()
    return replace(
        image_task(name, model, splits, seed), calibration=batches(*(part[:5000] for part in splits.train), 500)
    )


def seeded(task: Task, seed: int) -> Task:
    """The same task under another seed."""
    return replace(task, seed=seed)
