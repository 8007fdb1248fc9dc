"""The tasks of benchmarks/distill.py: MNIST digits, three conversion logs, film reviews."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring import Task, batches
from paring.core.metric import Metric
from paring.core.stream import drain
from paring.core.task import Batch
from paring.data.mnist import mnist
from paring.data.sst2 import Labelled, sst2
from paring.measure.metrics import accuracy
from paring.studies.encoder import Text, encoder_task, text_batches
from paring.studies.lenets import Shifted
from paring.studies.logs import LOGS
from paring.studies.logs import log_fold as one_fold
from paring.studies.nets import conv_net, mlp
from paring.studies.teachers import cache_folder, trained
from paring.teach.taught import taught
from paring.teach.teach import teach
from paring.train import Training

MNIST_TEACHER = Training(epochs=8, learning_rate=2e-3, weight_decay=1e-4)


def mnist_task(*, copies: int = 1, most: int = 2, num_train: int | None = None) -> Task:
    """A convolutional teacher of 1.6 M parameters, trained here once; students named fc, thin.

    With `copies` above 1 the training images are so many copies of themselves, moved by up to `most` pixels. The
    teacher has answered them all ahead, unless there are only `num_train`.
    """
    splits = mnist()
    torch.manual_seed(0)
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = splits.train, splits.validation, splits.test
    task = Task(
        name="mnist-conv-32-64-512",
        model=conv_net((32, 64), 512),
        example_inputs=train_x[:2],
        train=Shifted(train_x, train_y, 128),
        calibration=batches(train_x[:512], train_y[:512], 128),
        validation=batches(val_x, val_y, 500),
        test=batches(test_x, test_y, 500),
        loss=F.cross_entropy,
        metric=accuracy,
        students={"fc": lambda: mlp((784, 400, 100, 10)), "thin": lambda: conv_net((8, 16), 32)},
    )
    task = drain(trained(task, MNIST_TEACHER))
    x, y = train_x[:num_train], train_y[:num_train]
    if num_train is not None:
        return replace(task, train=batches(x, y, 128, shuffle=True))
    if copies > 1:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            passes = [list(Shifted(x, y, 1024, most)) for _ in range(copies)]
        x, y = (torch.cat([batch[side] for one in passes for batch in one]) for side in (0, 1))
    task = replace(task, train=batches(x, y, 128, shuffle=True))
    moved = "" if most == 2 else f"-by-{most}"
    folder = cache_folder().parent / "answers" / f"{task.name}-{copies}{moved}"
    for told in teach(task, folder):
        print(f"        teacher's answers, {copies} copies: {told.text}", flush=True)
    return taught(task, folder)


def log_fold(log: str, seed: int) -> tuple[Task, float]:
    """One of five folds of a conversion log, by the seed, its net untrained; and the rate of the training rows."""
    fold = one_fold(LOGS[log], LOGS[log].load(None), seed)
    return fold.task, fold.rate


def text_task(num_train: int) -> Task:
    """MiniLM-L6 fine-tuned on SST-2, with so many training phrases; calibration shows every token of all of them."""
    task, sentences = encoder_task(num_train=num_train), sst2()
    assert isinstance(task.train, Text)
    rows = tuple(row for group in task.train.groups for row in group)
    return replace(
        task,
        train=text_batches(task.train.tokenizer, rows, 64, shuffle=True),
        calibration=_every_token(task.train.tokenizer, sentences.train),
    )


def _every_token(tokenizer: Any, rows: Labelled) -> list[Batch]:
    """Batches in which each token of these sentences stands once: all that `prune.vocabulary` must see."""
    ids = {one for row in tokenizer([sentence for sentence, _ in rows])["input_ids"] for one in row}
    padded = sorted(ids) + [0] * (-len(ids) % 128)
    lines = torch.tensor(padded).reshape(-1, 128)
    return [
        ({"input_ids": part, "attention_mask": torch.ones_like(part)}, torch.zeros(len(part), dtype=torch.long))
        for part in lines.split(16)
    ]


class CausalNet(nn.Module):
    """A small causal language model over characters: an embedding, dilated causal convolutions, a head.

    (b, t) int64 -> (b, num_classes, t) logits, each position's guess at the next character.
    """

    def __init__(self, width: int, depth: int = 4, num_classes: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_classes, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2**place) for place in range(depth))
        self.head = nn.Conv1d(width, num_classes, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Padding comes behind, where nothing that counts looks at it."""
        x = self.embed(input_ids).transpose(1, 2)
        for place, conv in enumerate(self.convs):
            x = x + F.relu(conv(F.pad(x, (2 ** (place + 1), 0))))
        logits: Tensor = self.head(x)
        return logits


def language_task(num_train: int = 4_000, length: int = 64) -> Task:
    """Characters of SST-2 phrases: a causal teacher of width 96, trained here once; the student has width 24."""
    sentences = sst2()
    order = torch.randperm(len(sentences.train), generator=torch.Generator().manual_seed(0)).tolist()
    chosen = {
        "teacher": [sentences.train[place][0] for place in order[:12_000]],
        "train": [sentences.train[place][0] for place in order[:num_train]],
        "validation": [sentence for sentence, _ in sentences.dev[:1_000]],
        "test": [sentence for sentence, _ in sentences.test],
    }
    data = {split: _characters(rows, length) for split, rows in chosen.items()}

    def of(split: str, **how: Any) -> Any:
        return batches(*data[split], **how)

    torch.manual_seed(0)
    inputs = {name: value[:2] for name, value in data["train"][0].items()}
    task = Task(
        name="characters-96",
        model=CausalNet(96),
        example_inputs=inputs,
        train=of("teacher", batch_size=64, shuffle=True),
        calibration=of("train", batch_size=64),
        validation=of("validation", batch_size=100),
        test=of("test", batch_size=109),
        loss=F.cross_entropy,  # a target of -100 does not count
        metric=nats_per_character,
        students={"small": lambda: CausalNet(24)},
        dynamic_dims=(0, 1),
    )
    task = drain(trained(task, Training(epochs=6, learning_rate=4e-3, warmup=0.05)))
    return replace(task, train=of("train", batch_size=64, shuffle=True))


def _characters(rows: list[str], length: int) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs begin with 0; the target is the character that comes next, -100 behind the end."""
    ids, mask = (torch.zeros(len(rows), length, dtype=torch.long) for _ in range(2))
    target = torch.full((len(rows), length), -100)
    for place, row in enumerate(rows):
        codes = torch.tensor([min(ord(letter), 127) for letter in row[: length - 1]] + [10])[:length]
        ids[place, 1 : len(codes)] = codes[:-1]
        mask[place, : len(codes)] = 1
        target[place, : len(codes)] = codes
    return {"input_ids": ids, "attention_mask": mask}, target


def _nats(outputs: Tensor, targets: Tensor) -> float:
    return float(F.cross_entropy(outputs, targets))


nats_per_character = Metric("nats_per_character", _nats, higher_is_better=False, unit="nats")


def num_params(model: nn.Module) -> int:
    """Each shared parameter once."""
    return sum(p.numel() for p in model.parameters())


def outside_embeddings(model: nn.Module) -> int:
    """Parameters that no embedding table holds."""
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)
