"""The nets of the size benchmark: Deep Compression's four shapes, a ResNet and an encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from distill_tasks import mnist_task, text_task
from images import tuned

from paring import Task
from paring.core.stream import drain
from paring.studies.deep_nets import Augmented, shown
from paring.studies.encoder import encoder_task
from paring.studies.lenets import lenet5, lenet300


def net(name: str) -> Task:
    """The net whose file is made small, with its data."""
    return NETS[name]()


def taught(name: str) -> Task:
    """The same net as a student, `student.use`, with its weights: a convolutional teacher of 99.46 % has answered
    four copies of the training images, each moved by up to one pixel."""
    own = net(name)
    task = mnist_task(copies=4, most=1)
    students = {name: lambda: copy.deepcopy(own.model)}
    return replace(task, name=f"{own.name}, taught", students=students, calibration=own.calibration)


def calibrated(name: str, num_images: int) -> Task:
    """An image net calibrated on so many training images."""
    own = net(name)
    return replace(own, calibration=shown(own, num_images))


def in_batches(task: Task, batch: int) -> Task:
    """The image net trained in batches of so many images."""
    assert isinstance(task.train, Augmented)
    return replace(task, train=replace(task.train, batch_size=batch))


def encoder() -> Task:
    """MiniLM-L6 on SST-2, calibrated on 2,048 phrases; `train` shows every token of all training phrases once."""
    return replace(encoder_task(num_calibration=2048), train=text_task(1024).calibration)


NETS: dict[str, Callable[[], Task]] = {
    "lenet300": lambda: drain(lenet300()),
    "lenet5": lambda: drain(lenet5()),
    "resnet20": lambda: tuned("resnet20"),
    "resnet56": lambda: tuned("resnet56"),  # a teacher
    "alexnet": lambda: tuned("alexnet"),
    "vgg16": lambda: tuned("vgg16"),
    "encoder": encoder,
}
