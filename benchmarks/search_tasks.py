"""The four tasks of benchmarks/search.py: an MNIST CNN, ResNet-20, a text encoder, a conversion net."""

from __future__ import annotations

from collections.abc import Callable

from distill_tasks import log_fold
from images import tuned

from paring import Task
from paring.core.stream import drain
from paring.studies.demo import SETUPS, untrained_task
from paring.studies.encoder import encoder_task
from paring.studies.teachers import trained
from paring.train import Training


def mnist_cnn() -> Task:
    """Two convolutions and two Linears, trained here once (6 epochs)."""
    return drain(trained(untrained_task("mnist"), SETUPS["mnist"].training))


def resnet20() -> Task:
    """The public ResNet-20, trained on CIFAR-10 as JPEGs until it is flat, once."""
    return tuned("resnet20")


def encoder() -> Task:
    """MiniLM-L6 on SST-2, calibrated on 256 sentences."""
    return encoder_task(num_calibration=256)


def conversion() -> Task:
    """A net of embeddings and Linears on the online-shoppers log; its answer is a log rate."""
    task, _ = log_fold("online-shoppers", 0)
    return drain(trained(task, Training(epochs=8, learning_rate=1e-3, weight_decay=1e-2)))


SUBJECTS: dict[str, Callable[[], Task]] = {
    "mnist": mnist_cnn,
    "conversion": conversion,
    "resnet20": resnet20,
    "encoder": encoder,
}
