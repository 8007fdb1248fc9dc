"""Nets whose channels hang together in every way that pruning must follow, each with its example inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from paring.core.task import call


class Plain(nn.Module):
    """Convolution, batch norm, in-place ReLU, flattened into a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 6, 3, stride=2), nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.fc1, self.fc2 = nn.Linear(6 * 9, 10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.bn2(self.conv2(x)))
        return self.fc2(self.act(self.fc1(x.flatten(1))))


class Residual(nn.Module):
    """One residual block without and one with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.a1, self.a2, self.abn = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b1, self.b2, self.proj = nn.Conv2d(8, 6, 3, 2, 1), nn.Conv2d(6, 12, 3, padding=1), nn.Conv2d(8, 12, 1, 2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.stem(x))
        x = relu(x + self.abn(self.a2(relu(self.a1(x)))))
        x = relu(self.b2(relu(self.b1(x))) + self.proj(x))
        return self.head(x.mean((2, 3)))


class Concat(nn.Module):
    """Two branches concatenated, then read by a convolution; one is concatenated once more behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.bn, self.mix, self.head = nn.BatchNorm2d(10), nn.Conv2d(10, 8, 1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        left = relu(self.left(x))
        both = relu(self.bn(torch.cat([left, relu(self.right(x))], 1)))
        return self.head(torch.cat([relu(self.mix(both)), left], 1).mean((2, 3)))


class ConcatAdd(nn.Module):
    """A concatenation added to a convolution: each half runs through only part of the wide one."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.wide, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x), self.right(x)], 1)
        return self.head(relu(both + self.wide(x)).mean((2, 3)))


class Depthwise(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 12, 1, bias=False)
        self.bn, self.depth = nn.BatchNorm2d(12), nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.project, self.head = nn.Conv2d(12, 6, 1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.stem(x))
        x = x + self.project(relu(self.depth(relu(self.bn(self.expand(x))))))
        return self.head(relu(x).mean((2, 3)))


class Grouped(nn.Module):
    """A convolution in two groups between two dense ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.bn, self.mix, self.head = nn.BatchNorm2d(12), nn.Conv2d(12, 6, 1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn(self.grouped(relu(self.stem(x)))))
        return self.head(relu(self.mix(x)).mean((2, 3)))


class Mlp(nn.Sequential):
    """No bias anywhere."""

    def __init__(self) -> None:
        layers = [nn.Linear(7, 16, bias=False), nn.ReLU(), nn.Linear(16, 9, bias=False), nn.ReLU()]
        super().__init__(*layers, nn.Linear(9, 5, bias=False))


class DictInputs(nn.Module):
    """An embedding and a Linear over two named inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.dense = nn.Embedding(20, 6), nn.Linear(4, 6)
        self.fc, self.head = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, ids: Tensor, values: Tensor) -> Tensor:
        return self.head(relu(self.fc(self.embed(ids).mean(1) + self.dense(values))))


class Twice(nn.Module):
    """One Linear used twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.head = nn.Linear(7, 8), nn.Linear(8, 8), nn.Linear(8, 5)
        self.again = self.shared

    def forward(self, x: Tensor) -> Tensor:
        return self.head(relu(self.again(relu(self.shared(relu(self.first(x)))))))


class Conv1dNet(nn.Module):
    """Conv1d, gated by a squeeze-and-excite branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv1d(3, 8, 3), nn.Linear(8, 4), nn.Linear(4, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.conv(x))
        x = x * torch.sigmoid(self.excite(relu(self.squeeze(x.mean(2)))))[:, :, None]
        return self.head(x.mean(2))


IMAGE = (3, 8, 8)
NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "plain": (Plain, lambda: torch.randn(4, *IMAGE)),
    "residual": (Residual, lambda: torch.randn(4, *IMAGE)),
    "concat": (Concat, lambda: torch.randn(4, *IMAGE)),
    "concat_add": (ConcatAdd, lambda: torch.randn(4, *IMAGE)),
    "depthwise": (Depthwise, lambda: torch.randn(4, *IMAGE)),
    "grouped": (Grouped, lambda: torch.randn(4, *IMAGE)),
    "mlp": (Mlp, lambda: torch.randn(4, 7)),
    "dict": (DictInputs, lambda: {"ids": torch.randint(0, 20, (4, 3)), "values": torch.randn(4, 4)}),
    "twice": (Twice, lambda: torch.randn(4, 7)),
    "conv1d": (Conv1dNet, lambda: torch.randn(4, 3, 9)),
}


def make(name: str, seed: int = 0) -> tuple[nn.Module, Any]:
    """(model in eval mode with unequal batch-norm statistics, example inputs), the same for the same seed."""
    torch.manual_seed(seed)
    net, inputs = NETS[name]
    return unequal(net()), inputs()


def unequal(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.uniform_(0.5, 1.5)
    return model.eval()


@torch.no_grad()
def answer(model: nn.Module, inputs: Any) -> Tensor:
    return call(model, inputs)


@torch.no_grad()
def silence_(model: nn.Module, tensors: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Zeroes rows of tensors: (name, indices along dimension 0, or 1 for an embedding)."""
    for name, index in tensors:
        tensor = dict(model.named_parameters(remove_duplicate=False))[name]
        dim = 1 if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding) else 0
        tensor.index_fill_(dim, torch.tensor(index, dtype=torch.long), 0.0)
