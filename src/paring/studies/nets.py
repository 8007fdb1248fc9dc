"""The networks of the demo and the studies, as plain PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn


def conv_net(
    channels: tuple[int, ...] = (32, 64), hidden: int = 128, *, side: int = 28, num_classes: int = 10
) -> nn.Sequential:
    """A small image classifier: per stage convolution, batch norm, ReLU and 2 x 2 max-pooling; then two Linears.

    Takes (batch, 1, side, side) and answers (batch, num_classes) logits. Layers: conv1, norm1, ..., fc, head.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, (num_in, num_out) in enumerate(pairwise((1, *channels)), start=1):
        layers[f"conv{stage}"] = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
        layers[f"norm{stage}"] = nn.BatchNorm2d(num_out)
        layers[f"relu{stage}"] = nn.ReLU()
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flat"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels[-1] * (side // 2 ** len(channels)) ** 2, hidden)
    layers["relu"] = nn.ReLU()
    layers["dropout"] = nn.Dropout(0.25)
    layers["head"] = nn.Linear(hidden, num_classes)
    return nn.Sequential(layers)


def mlp(widths: tuple[int, ...] = (784, 300, 100, 10)) -> nn.Sequential:
    """A fully connected classifier over flattened images: (batch, ...) to (batch, widths[-1]) logits.

    Layers: flat, fc1, relu1, fc2, ..., the last one without ReLU.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flat=nn.Flatten())
    for number, (num_in, num_out) in enumerate(pairwise(widths), start=1):
        layers[f"fc{number}"] = nn.Linear(num_in, num_out)
        if number < len(widths) - 1:
            layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)


class ConversionNet(nn.Module):
    """A rate of conversions: embeddings of categories beside numbers, then Linears with ReLU.

    (b, columns) int64 and (b, num_numbers) float32 -> log rate (b, 1). Layers: embed, body.0, body.1, ..., head.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        num_numbers: int,
        widths: tuple[int, ...] = (256, 128),
        embedding_dim: int = 8,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(size, embedding_dim) for size in sizes)
        layers: list[nn.Module] = []
        for num_in, num_out in pairwise((embedding_dim * len(sizes) + num_numbers, *widths)):
            layers += [nn.Linear(num_in, num_out), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Log rate."""
        columns = [embed(categories[:, place]) for place, embed in enumerate(self.embed)]
        rate: Tensor = self.head(self.body(torch.cat([*columns, numbers], 1)))
        return rate


class WideDeepNet(nn.Module):
    """A rate of conversions as teams often build it: a linear model beside a deep one (Cheng et al. 2016,
    arXiv:1606.07792), one embedding table a column.

    (b, columns) int64 and (b, num_numbers) float32 -> log rate (b, 1). Layers: embed, wide, wide_numbers, body, head.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        num_numbers: int,
        widths: tuple[int, ...] = (512, 256),
        embedding_dim: int = 16,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(size, embedding_dim) for size in sizes)
        self.wide = nn.ModuleList(nn.Embedding(size, 1) for size in sizes)
        for table in self.wide:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]
        self.wide_numbers = nn.Linear(num_numbers, 1, bias=False)
        layers: list[nn.Module] = []
        for num_in, num_out in pairwise((embedding_dim * len(sizes) + num_numbers, *widths)):
            layers += [nn.Linear(num_in, num_out), nn.ReLU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Log rate."""
        deep = [embed(categories[:, place]) for place, embed in enumerate(self.embed)]
        wide = [table(categories[:, place]) for place, table in enumerate(self.wide)]
        rate: Tensor = self.head(self.body(torch.cat([*deep, numbers], 1))) + self.wide_numbers(numbers)
        return rate + torch.stack(wide).sum(0)


class LeanConversionNet(nn.Module):
    """A rate of conversions with one table for all columns, so that a call looks up once: the student.

    (b, columns) int64 and (b, num_numbers) float32 -> log rate (b, 1). Layers: table, body.0, body.2, ..., head.
    """

    starts: Tensor

    def __init__(
        self, sizes: tuple[int, ...], num_numbers: int, widths: tuple[int, ...] = (48, 24), embedding_dim: int = 8
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), embedding_dim)
        self.register_buffer("starts", torch.tensor([0, *sizes[:-1]]).cumsum(0))
        layers: list[nn.Module] = []
        for num_in, num_out in pairwise((embedding_dim * len(sizes) + num_numbers, *widths)):
            layers += [nn.Linear(num_in, num_out), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Log rate."""
        columns = self.table(categories + self.starts).flatten(1)
        rate: Tensor = self.head(self.body(torch.cat([columns, numbers], 1)))
        return rate
