"""The tasks of benchmarks/prune.py: an MNIST net, ResNet-56 on JPEGs, a text encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from images import tuned
from prune_recipes import FINE_TUNED
from torch import nn

from paring import Task, batches
from paring.core.stream import drain
from paring.data.mnist import mnist
from paring.studies.demo import image_task
from paring.studies.encoder import Text, encoder_task, pretrained_encoder, text_batches
from paring.studies.nets import mlp
from paring.studies.teachers import trained
from paring.train import Training

WIDE = Training(epochs=10, learning_rate=1e-3, weight_decay=1e-4)
NUM_TRAIN = 20_480  # phrases that the encoder's trainings see


@dataclass(frozen=True)
class Subject:
    """A task, the same with the inputs that files are exported with and timed on, and what drops are taken against."""

    task: Task
    timed: Task
    dense: nn.Module


def wide(seed: int) -> Subject:
    """784-512-256-128-10, trained here once a seed; calibrated on 8,192 images."""
    splits = mnist()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((784, 512, 256, 128, 10))
    task = image_task(f"mnist-wide-{seed}", model, splits, seed)
    calibration = batches(*(part[:8192] for part in splits.train), 512)
    task = drain(trained(replace(task, calibration=calibration), WIDE))
    return Subject(task, task, task.model)


def resnet(depth: int, seed: int) -> Subject:
    """The public ResNet trained on these JPEGs until it is flat; calibrated on 512 training images."""
    task = replace(tuned(f"resnet{depth}"), seed=seed)
    return Subject(task, task, task.model)


def encoder(seed: int) -> Subject:
    """MiniLM-L6 on SST-2: calibrated on 512 phrases without padding; timed on a sentence of 128 tokens."""
    task = encoder_task(num_train=NUM_TRAIN, seed=seed)
    return Subject(task, on_one_length(task), task.model)


def pretrained(seed: int) -> Subject:
    """The encoder before it was fine-tuned, with a new head: the fine-tuned one teaches it, and is the dense net."""
    task = encoder_task(num_train=NUM_TRAIN, seed=seed)
    model, tokenizer = pretrained_encoder(seed)
    assert isinstance(task.train, Text)
    rows = tuple(row for group in task.train.groups for row in group)
    train = text_batches(tokenizer, rows, 64, task.train.fields, shuffle=True)
    return Subject(
        replace(task, name="minilm-l6-pretrained", model=model, teachers={FINE_TUNED: task.model}, train=train),
        on_one_length(task),
        task.model,
    )


def on_one_length(task: Task) -> Task:
    """The task with nothing but the sentence of 128 tokens to export and time with."""
    return replace(task, calibration=[(task.example_inputs, torch.zeros(2))])


SUBJECTS: dict[str, Callable[[int], Subject]] = {
    "wide": wide,
    "units": wide,
    "resnet20": partial(resnet, 20),
    "resnet56": partial(resnet, 56),
    "encoder": encoder,
    "movement": pretrained,
}
