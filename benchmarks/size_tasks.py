"""The nets of the size benchmark: Deep Compression's four shapes, a ResNet and an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distill_tasks import mnist_task, text_task
from images import tuned
from torch import nn

from paring import Task
from paring.core.stream import drain
from paring.studies.encoder import encoder_task
from paring.studies.lenets import LeNet5, lenet5, lenet300
from paring.studies.nets import mlp

PHRASES = 8_192
STUDENTS: dict[str, Callable[[], nn.Module]] = {"lenet300": lambda: mlp((784, 300, 100, 10)), "lenet5": LeNet5}


def net(name: str) -> Task:
    """The net whose file is made small, with its data."""
    return NETS[name]()


def taught(name: str) -> Task:
    """The same net as a student, `student.use`, with its weights: a convolutional teacher of 99.46 % has answered
    four copies of the training images, each moved by up to one pixel. The encoder learns from itself, on phrases."""
    if name == "encoder":
        return text_task(PHRASES)
    own = net(name)
    task = mnist_task(copies=4, most=1)

    def student() -> nn.Module:
        made = STUDENTS[name]()
        made.load_state_dict(own.model.state_dict())
        return made

    return replace(task, name=f"{own.name}, taught", students={name: student}, calibration=own.calibration)


def encoder() -> Task:
    """MiniLM-L6 on SST-2, calibrated on 512 sentences; `train` shows every token of all training phrases once."""
    return replace(encoder_task(), train=text_task(1024).calibration)


NETS: dict[str, Callable[[], Task]] = {
    "lenet300": lambda: drain(lenet300()),
    "lenet5": lambda: drain(lenet5()),
    "resnet20": lambda: tuned("resnet20"),
    "alexnet": lambda: tuned("alexnet"),
    "vgg16": lambda: tuned("vgg16"),
    "encoder": encoder,
}
