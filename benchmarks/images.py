"""CIFAR-10 as JPEGs for the benchmarks: the public ResNets trained on until they are flat, and nets trained here.

Each net is trained here once and kept in the user's cache; `python benchmarks/images.py` trains what is missing and
prints every epoch.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

from paring import Task
from paring.core.stream import drain
from paring.data.cifar_jpeg import cifar_jpeg
from paring.data.splits import Splits
from paring.studies import deep_nets
from paring.studies.deep_nets import alexnet, cifar_task, vgg16
from paring.studies.resnet import pretrained_resnet
from paring.studies.teachers import trained
from paring.train import Training

TRAINING = {
    "resnet20": Training(epochs=10, learning_rate=2e-3, weight_decay=0.02, warmup=0.05, precision="bf16"),
    "resnet56": Training(epochs=10, learning_rate=2e-3, weight_decay=0.02, warmup=0.05, precision="bf16"),
    "vgg": Training(epochs=10, learning_rate=2e-3, weight_decay=0.05, warmup=0.1, precision="bf16"),
    **deep_nets.TRAINING,
}


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


def untrained(name: str, splits: Splits | None = None) -> Task:
    """`vgg`, `vgg16` and `alexnet` from scratch; the ResNets as published, which these JPEGs surprise."""
    torch.manual_seed(0)
    nets = {"vgg": vgg, "vgg16": vgg16, "alexnet": alexnet}
    net = nets[name]() if name in nets else pretrained_resnet(int(name.removeprefix("resnet")))
    return cifar_task(name, net, splits or cifar_jpeg())


def tuned(name: str, splits: Splits | None = None) -> Task:
    """The net trained on these JPEGs until validation is flat, once; every drop is counted from here."""
    return drain(trained(untrained(name, splits), TRAINING[name]))


def main() -> None:
    """Trains what the cache lacks, of the nets named or of all."""
    torch.set_num_threads(1)
    splits = cifar_jpeg()
    for name in sys.argv[1:] or TRAINING:
        for step in trained(untrained(name, splits), TRAINING[name]):
            if step.epoch is not None:
                print(name, step.epoch, flush=True)


if __name__ == "__main__":
    main()
