"""Small nets and tasks that tests share: residuals, missing biases, shared weights, dict inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring import Task, batches
from paring.measure.metrics import accuracy


class ResidualNet(nn.Module):
    """Convolutions with batch norm, one residual block with a functional ReLU, global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(inputs)))
        x = F.relu(x + self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return self.head(x.mean((2, 3)))


class SharedNet(nn.Module):
    """A Linear used twice, two Linears sharing one weight, none with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 16, bias=False)
        self.twice = nn.Linear(16, 16, bias=False)
        self.tied_a = nn.Linear(16, 16, bias=False)
        self.tied_b = nn.Linear(16, 16, bias=False)
        self.tied_b.weight = self.tied_a.weight
        self.head = nn.Linear(16, 4, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        x = torch.relu(self.first(inputs))
        x = torch.relu(self.twice(torch.relu(self.twice(x))))
        return self.head(torch.relu(self.tied_b(torch.relu(self.tied_a(x)))))


class DictNet(nn.Module):
    """Dict inputs with a non-persistent buffer; answers an object with `.logits`, as Hugging Face models do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 12)
        self.register_buffer("positions", torch.linspace(0, 1, 6)[None, :, None].clone(), persistent=False)
        self.mix = nn.Linear(12, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.mix(self.embed(tokens) + self.positions))
        pooled = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return {"logits": self.head(pooled)}


class EncoderNet(nn.Module):
    """Two encoder layers of two heads over tokens, with PyTorch's own attention, which hides its projections."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(24, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(inputs)).mean(1))


def image_task(seed: int = 0, model: nn.Module | None = None) -> Task:
    """ResidualNet on noise images whose class is their brightest quadrant."""
    torch.manual_seed(seed)
    model = (model or ResidualNet()).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.rand(96, 1, 8, 8)
    y = torch.stack([x[..., :4, :4], x[..., :4, 4:], x[..., 4:, :4], x[..., 4:, 4:]], -1).mean((1, 2, 3)).argmax(-1)
    return _task("images", model, x, y, x[:2])


def vector_task(seed: int = 0) -> Task:
    """SharedNet on noise vectors."""
    torch.manual_seed(seed)
    model = SharedNet().eval()
    x = torch.randn(96, 12)
    return _task("vectors", model, x, x[:, :4].argmax(-1), x[:2])


def dict_task(seed: int = 0) -> Task:
    """DictNet on random tokens."""
    torch.manual_seed(seed)
    model = DictNet().eval()
    inputs = {"tokens": torch.randint(0, 20, (96, 6)), "mask": torch.ones(96, 6)}
    targets = inputs["tokens"][:, 0] % 4
    return _task("dict", model, inputs, targets, {name: value[:2] for name, value in inputs.items()})


def encoder_task(seed: int = 0) -> Task:
    """EncoderNet on random tokens, of which only the even ones occur."""
    torch.manual_seed(seed)
    model = EncoderNet().eval()
    x = 2 * torch.randint(0, 12, (96, 5))
    return _task("encoder", model, x, x[:, 0] // 2 % 4, x[:2])


def _task(name: str, model: nn.Module, inputs, targets: Tensor, example) -> Task:  # type: ignore[no-untyped-def]
    data = batches(inputs, targets, 32)
    return Task(
        model=model,
        example_inputs=example,
        train=batches(inputs, targets, 32, shuffle=True),
        calibration=data,
        validation=data,
        test=data,
        loss=F.cross_entropy,
        metric=accuracy,
        output=lambda answer: answer["logits"] if isinstance(answer, dict) else answer,
        students={"small": type(model)},
        name=name,
    )


TASKS = {"images": image_task, "vectors": vector_task, "dict": dict_task, "encoder": encoder_task}
