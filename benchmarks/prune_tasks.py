"""The tasks of benchmarks/prune.py: an MNIST net, ResNet-56 on JPEGs, a text encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from images import tuned

from paring import Task, batches
from paring.core.stream import drain
from paring.data.mnist import mnist
from paring.studies.demo import image_task
from paring.studies.encoder import encoder_task
from paring.studies.nets import mlp
from paring.studies.teachers import trained
from paring.train import Training

WIDE = Training(epochs=10, learning_rate=1e-3, weight_decay=1e-4)
NUM_TRAIN = 20_480  # phrases that the encoder's trainings see


@dataclass(frozen=True)
class Subject:
    """A task, and the same with the inputs that files are exported with and timed on."""

    task: Task
    timed: Task


def wide(seed: int) -> Subject:
    """784-512-256-128-10, trained here once a seed; calibrated on 8,192 images."""
    splits = mnist()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((784, 512, 256, 128, 10))
    task = image_task(f"mnist-wide-{seed}", model, splits, seed)
    calibration = batches(*(part[:8192] for part in splits.train), 512)
    task = drain(trained(replace(task, calibration=calibration), WIDE))
    return Subject(task, task)


def resnet(depth: int, seed: int) -> Subject:
    """The public ResNet trained on these JPEGs until it is flat; calibrated on 512 training images."""
    task = replace(tuned(f"resnet{depth}"), seed=seed)
    return Subject(task, task)


def encoder(seed: int) -> Subject:
    """MiniLM-L6 on SST-2: calibrated on 512 phrases without padding; timed on a sentence of 128 tokens."""
    task = encoder_task(num_train=NUM_TRAIN, seed=seed)
    return Subject(task, replace(task, calibration=[(task.example_inputs, torch.zeros(2))]))


SUBJECTS: dict[str, Callable[[int], Subject]] = {
    "wide": wide,
    "units": wide,
    "resnet20": partial(resnet, 20),
    "resnet56": partial(resnet, 56),
    "encoder": encoder,
    "movement": encoder,
}
