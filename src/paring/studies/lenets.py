"""The nets of Deep Compression: LeNet-300-100 trained here, LeNet-5 with the weights that its paper pruned."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from paring.core.edit import Progress
from paring.core.task import Batch, Task
from paring.data.batches import batches
from paring.data.files import find_file
from paring.data.mnist import mnist
from paring.data.splits import Splits
from paring.studies.demo import SETUPS, image_task, untrained_task
from paring.studies.nets import mlp
from paring.studies.teachers import trained
from paring.train import Training

LENET5 = "weights/lenet5-caffe-mnist.safetensors"
LENET5_SHA256 = "8af8fc80b7e3f4e61e2aab1fd8b85bf2179e37559b8cd9b9015444bf063173af"
CALIBRATION = 5_000  # images


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
        logits: Tensor = self.ip2(F.relu(self.ip1(x.flatten(1))))
        return logits


def lenet300(data: str | Path | None = None, *, seed: int = 0, epochs: int = 20) -> Generator[Progress, None, Task]:
    """LeNet-300-100, trained here with weight decay, cached. Raises TaskError without MNIST."""
    task = lenet300_task(mnist(data), seed)
    return (yield from trained(task, Training(epochs=epochs, learning_rate=2e-3, weight_decay=0.05)))


def lenet300_task(splits: Splits, seed: int = 0) -> Task:
    """LeNet-300-100 before it is trained, over images of any side."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((splits.train[0][0].numel(), 300, 100, 10))
    return _task(f"lenet-300-100-{seed}", model, splits, seed)


def lenet5(data: str | Path | None = None, *, seed: int = 0) -> Generator[Progress, None, Task]:
    """LeNet-5 with its trained weights. Raises TaskError without them or MNIST."""
    yield Progress(0, 1, "LeNet-5")
    model = LeNet5()
    model.load_state_dict(load_file(find_file(LENET5, LENET5_SHA256, data)))
    # The weights want bytes / 256 and our loader gives bytes / 255.
    with torch.no_grad():
        model.conv1.weight.mul_(255 / 256)
    return _task("lenet-5", model.eval(), mnist(data), seed)


def taught_lenet5(data: str | Path | None = None, *, seed: int = 0) -> Generator[Progress, None, Task]:
    """LeNet-5 beside the demo's convolutional net as its teacher `cnn`; training images move by up to a pixel.

    Raises as `lenet5`.
    """
    task = yield from lenet5(data, seed=seed)
    untrained = untrained_task("mnist", None if data is None else Path(data))
    taught = yield from trained(untrained, SETUPS["mnist"].training)
    return replace(task, train=Shifted(*mnist(data).train, 128, 1), teachers={"cnn": taught.model})


@dataclass(frozen=True, eq=False)
class Shifted:
    """Batches of images moved by up to `most` pixels each way, drawn from torch's global generator."""

    inputs: Tensor
    targets: Tensor
    batch_size: int
    most: int = 2

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for rows in torch.split(torch.randperm(len(self.targets)), self.batch_size):
            x, m = F.pad(self.inputs[rows], (self.most,) * 4), self.most
            dy, dx = torch.randint(0, 2 * m + 1, (2, len(rows)))
            ys, xs = (torch.arange(28)[None] + shift[:, None] for shift in (dy, dx))
            moved = x[torch.arange(len(rows))[:, None, None], 0, ys[:, :, None], xs[:, None, :]]
            yield moved[:, None].contiguous(), self.targets[rows]


def _task(name: str, model: nn.Module, splits: Splits, seed: int) -> Task:
    """Calibrated on the first 5,000 training images."""
    first = [part[:CALIBRATION] for part in splits.train]
    return replace(image_task(name, model, splits, seed), calibration=batches(first[0], first[1], 500))
