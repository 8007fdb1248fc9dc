"""The networks of the demo and the studies, as plain PyTorch."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def conv_net(
    channels: tuple[int, ...] = (32, 64), hidden: int = 128, *, side: int = 28, num_classes: int = 10
) -> nn.Sequential:
    """A small image classifier: per stage convolution, batch norm, ReLU and 2 x 2 max-pooling; then two Linears.

    Takes (batch, 1, side, side) and answers (batch, num_classes) logits.
    """
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise((1, *channels)):
        layers += [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    flat = channels[-1] * (side // 2 ** len(channels)) ** 2
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(0.25), nn.Linear(hidden, num_classes)
    )


def mlp(widths: tuple[int, ...] = (784, 300, 100, 10)) -> nn.Sequential:
    """A fully connected classifier over flattened images: (batch, ...) to (batch, widths[-1]) logits."""
    layers: list[nn.Module] = [nn.Flatten()]
    for num_in, num_out in pairwise(widths):
        layers += [nn.Linear(num_in, num_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
