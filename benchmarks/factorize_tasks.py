"""The three tasks of benchmarks/factorize.py: a fully connected net, a text encoder, a VGG-like net."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from images import tuned
from torch import Tensor, nn

from paring import Task, batches
from paring.core.stream import drain
from paring.data.mnist import mnist
from paring.measure.metrics import accuracy
from paring.studies.encoder import LENGTH, encoder_task
from paring.studies.nets import mlp
from paring.studies.teachers import trained
from paring.train import Training

MNIST = Training(epochs=10, learning_rate=1e-3, weight_decay=1e-4)


@dataclass(frozen=True)
class Subject:
    """A task, the same with the inputs that files are timed on, and its dense layers alone (None: the net itself)."""

    task: Task
    timed: Task
    layers: Any = None


def mnist_net() -> Subject:
    """784-512-256-128-10, trained here once."""
    splits = mnist()
    torch.manual_seed(0)
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = splits.train, splits.validation, splits.test
    task = Task(
        name="mnist-784-512-256-128-10",
        model=mlp((784, 512, 256, 128, 10)),
        example_inputs=train_x[:2],
        train=batches(train_x, train_y, 128, shuffle=True),
        calibration=batches(train_x[:8192], train_y[:8192], 512),
        validation=batches(val_x, val_y, 500),
        test=batches(test_x, test_y, 500),
        loss=F.cross_entropy,
        metric=accuracy,
    )
    task = drain(trained(task, MNIST))
    return Subject(task, task)


def vgg_net() -> Subject:
    """A VGG-like net on CIFAR-10 as JPEGs, trained here once."""
    task = tuned("vgg")
    return Subject(task, task)


def text_encoder() -> Subject:
    """MiniLM-L6 on SST-2: calibrated on sentences as they are, without padding; timed on one of 128 tokens."""
    task = encoder_task(num_calibration=2048)
    return Subject(task, replace(task, calibration=[(task.example_inputs, torch.zeros(2))]), _feed_forward)


class FeedForward(nn.Module):
    """The feed-forward layers of an encoder alone, each on the same input, their outputs added."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(model.bert.encoder.layer)  # type: ignore[arg-type, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return sum(layer.output.dense(layer.intermediate(x)) for layer in self.layers)  # type: ignore[operator, return-value, union-attr]


def _feed_forward(model: nn.Module, task: Task) -> Task:
    x = torch.randn(2, LENGTH, 384, generator=torch.Generator().manual_seed(0))
    return replace(
        task, model=FeedForward(model).eval(), example_inputs=x, calibration=[(x, torch.zeros(2))], dynamic_dims=(0, 1)
    )


SUBJECTS = {"mnist": mnist_net, "text": text_encoder, "vgg": vgg_net}
