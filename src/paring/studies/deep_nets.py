"""Nets of the shapes of AlexNet and VGG-16 for CIFAR-10 as JPEGs, and the task they learn there."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring.core.edit import Progress
from paring.core.task import Batch, Batches, Task
from paring.data.batches import batches
from paring.data.cifar_jpeg import cifar_jpeg
from paring.data.splits import Splits
from paring.measure.metrics import accuracy
from paring.studies.teachers import trained
from paring.train import Training

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
TRAINING = {
    "alexnet": Training(epochs=8, learning_rate=1e-3, weight_decay=0.05, warmup=0.1, precision="bf16"),
    "vgg16": Training(epochs=7, learning_rate=1e-3, weight_decay=0.05, warmup=0.15, precision="bf16"),
}


def deep_net(name: str, data: str | Path | None = None, num_calibration: int = 512) -> Generator[Progress, None, Task]:
    """`alexnet` or `vgg16`, trained here once, which takes long, and cached; calibrated on so many training images.

    Raises: TaskError without the images.
    """
    yield Progress(0, 1, "reading images")
    task = yield from trained(untrained(name, cifar_jpeg(data)), TRAINING[name])
    return replace(task, calibration=shown(task, num_calibration))


def shown(task: Task, num_images: int) -> Batches:
    """The first training images as they are, for calibration."""
    assert isinstance(task.train, Augmented)
    return batches(task.train.inputs[:num_images], task.train.targets[:num_images], 64)


def untrained(name: str, splits: Splits) -> Task:
    """The task before the net has learned anything."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = {"alexnet": alexnet, "vgg16": vgg16}[name]()
    return cifar_task(name, net, splits)


def cifar_task(name: str, model: nn.Module, splits: Splits) -> Task:
    """The net as it is; calibrated on the first 512 training images."""
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = splits.train, splits.validation, splits.test
    return Task(
        name=f"{name}-cifar10-jpeg",
        model=model,
        example_inputs=train_x[:2],
        train=Augmented(train_x, train_y, 128),
        calibration=batches(train_x[:512], train_y[:512], 64),
        validation=batches(val_x, val_y, 500),
        test=batches(test_x, test_y, 500),
        loss=F.cross_entropy,
        metric=accuracy,
    )


@dataclass(frozen=True, eq=False)
class Augmented:
    """Batches of images flipped and shifted by up to 4 pixels, drawn from torch's global generator; channels last."""

    inputs: Tensor
    targets: Tensor
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for rows in torch.split(torch.randperm(len(self.targets)), self.batch_size):
            x = self.inputs[rows]
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            dy, dx = torch.randint(0, 9, (2,)).tolist()
            x = F.pad(x, (4, 4, 4, 4))[..., dy : dy + 32, dx : dx + 32]
            yield x.contiguous(memory_format=torch.channels_last), self.targets[rows]


def vgg16(hidden: int = 1024, *, num_classes: int = 10) -> nn.Sequential:
    """The convolutions of VGG-16; two hidden Linears of `hidden` with dropout behind them."""
    return nn.Sequential(*vgg16_convolutions(), *_head(VGG16[-1][-1], hidden, num_classes))


def vgg16_convolutions() -> list[nn.Module]:
    """Those of VGG-16 with batch norms, which leave one position of a 32 x 32 image; flattened, 512 wide."""
    layers: list[nn.Module] = []
    num_in = 3
    for stage in VGG16:
        for num_out in stage:
            layers += [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
            num_in = num_out
        layers.append(nn.MaxPool2d(2))
    return [*layers, nn.Flatten()]


def alexnet(hidden: int = 1024, *, num_classes: int = 10) -> nn.Sequential:
    """The channels of AlexNet over 32 x 32 images, which its first stride of 4 would leave nothing of: a stride of 2
    and padding; batch norms; two hidden Linears of `hidden`, dropout."""
    layers: list[nn.Module] = []
    num_in = 3
    for num_out, kernel, stride, pooled in (
        (96, 5, 2, True), (256, 5, 1, True), (384, 3, 1, False), (384, 3, 1, False), (256, 3, 1, True)
    ):  # fmt: skip
        convolution = nn.Conv2d(num_in, num_out, kernel, stride, kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(num_out), nn.ReLU(), *([nn.MaxPool2d(2)] if pooled else [])]
        num_in = num_out
    return nn.Sequential(*layers, nn.Flatten(), *_head(4 * num_in, hidden, num_classes))


def _head(num_in: int, hidden: int, num_classes: int) -> list[nn.Module]:
    return [
        nn.Linear(num_in, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, num_classes),
    ]  # fmt: skip
