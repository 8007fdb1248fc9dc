"""The four tasks of benchmarks/search.py: an MNIST CNN, ResNet-20, a text encoder, a conversion net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch.nn.functional as F
from distill_tasks import log_fold
from factorize_tasks import Augmented, text_encoder

from paring import Task, batches
from paring.core.stream import drain
from paring.data.cifar_jpeg import cifar_jpeg
from paring.measure.metrics import accuracy
from paring.studies.demo import SETUPS, untrained_task
from paring.studies.resnet import pretrained_resnet
from paring.studies.teachers import trained
from paring.train import Training


def mnist_cnn() -> Task:
    """Two convolutions and two Linears, trained here once (6 epochs)."""
    return drain(trained(untrained_task("mnist"), SETUPS["mnist"].training))


def resnet20(*, tuned: bool = False) -> Task:
    """The public ResNet-20 on CIFAR-10 as JPEGs; `tuned`: trained on them until it is flat, once."""
    splits = cifar_jpeg()
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = splits.train, splits.validation, splits.test
    task = Task(
        name="resnet20-cifar10-jpeg",
        model=pretrained_resnet(20),
        example_inputs=train_x[:2],
        train=Augmented(train_x, train_y, 128),
        calibration=batches(train_x[:512], train_y[:512], 128),
        validation=batches(val_x, val_y, 500),
        test=batches(test_x, test_y, 500),
        loss=F.cross_entropy,
        metric=accuracy,
    )
    return drain(trained(task, Training(epochs=3, learning_rate=1e-3))) if tuned else task


def encoder() -> Task:
    """MiniLM-L6 on SST-2, calibrated on 256 sentences."""
    task = text_encoder().task
    assert task.calibration is not None
    return replace(task, calibration=[batch for batch, _ in zip(task.calibration, range(8), strict=False)])


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
