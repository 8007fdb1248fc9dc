"""ResNets for CIFAR-10 (He et al. 2015, arXiv:1512.03385, section 4.2), shortcuts of option A as fixed convolutions."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from paring.data.files import find_file

WEIGHTS = {
    20: "73f90c544d66fbfb52d306980bd5c1fd5acf93d15e3aca88ff13d8b4635ede9b",
    56: "44ba6c90d23f5f7d0fd26bfe9ce4d4cbe5b815c9933855e91471727c50cf2679",
}


class Select(nn.Conv2d):
    """Every other pixel, and zero channels before and behind, as a frozen 1 x 1 convolution.

    Slicing and padding say the same, but tracers take padded channels for an elementwise operation, and one group
    would run through all stages.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__(num_in, num_out, 1, stride=2, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            offset = (num_out - num_in) // 2
            for channel in range(num_in):
                self.weight[offset + channel, channel] = 1.0
        self.weight.requires_grad_(False)


class Block(nn.Module):
    """Two 3 x 3 convolutions around the identity, or around a selection where the width doubles."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        stride = 1 if num_in == num_out else 2
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.shortcut = nn.Identity() if stride == 1 else _select(num_in, num_out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, num_in, h, w) -> (b, num_out, h or h / 2, w or w / 2)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def _select(num_in: int, num_out: int) -> nn.Conv2d:
    """A plain Conv2d with the weights of `Select`, so that every pass knows its kind."""
    plain = nn.Conv2d(num_in, num_out, 1, stride=2, bias=False)
    plain.weight = Select(num_in, num_out).weight
    return plain


class ResNet(nn.Module):
    """Depth 6n + 2: a stem and n blocks at each of three widths, in one row. (b, 3, 32, 32) -> (b, 10)."""

    def __init__(self, depth: int = 20, widths: tuple[int, int, int] = (16, 32, 64), num_classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        num_in = widths[0]
        for width in widths:
            for _ in range((depth - 2) // 6):
                blocks.append(Block(num_in, width))
                num_in = width
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.linear(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))
        return logits


def pretrained_resnet(depth: int, data: str | Path | None = None) -> ResNet:
    """ResNet-20 or -56 trained on CIFAR-10 (akamaster/pytorch_resnet_cifar10). Raises TaskError, CorruptFileError."""
    state = load_file(find_file(f"weights/resnet{depth}-cifar10.safetensors", WEIGHTS[depth], data))
    model = ResNet(depth)
    per_stage = (depth - 2) // 6
    for name, tensor in state.items():
        place = re.sub(r"^layer(\d)\.(\d+)", lambda m: f"blocks.{(int(m[1]) - 1) * per_stage + int(m[2])}", name)
        if not place.endswith("num_batches_tracked"):
            model.state_dict()[place].copy_(tensor)
    return model.eval()
