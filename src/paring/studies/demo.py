"""The demo: a small net trained here, one recipe per family and one composite, every exported file measured."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from paring.core.budget import Budget
from paring.core.recipe import Recipe
from paring.core.stream import told
from paring.core.task import Task
from paring.data.batches import batches
from paring.data.digits import digits
from paring.data.mnist import mnist
from paring.data.splits import Splits
from paring.distill.response import Response
from paring.errors import UnknownNameError
from paring.factorize.rank import Ratio
from paring.factorize.svd import Svd
from paring.finetune import Finetune
from paring.judge.bench import Bench
from paring.measure.metrics import accuracy
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from paring.quantize.static import Static
from paring.report.results import Run
from paring.run import Told, run_recipes
from paring.store import open_run
from paring.studies.nets import conv_net
from paring.studies.teachers import trained
from paring.train import Training


@dataclass(frozen=True)
class Setup:
    """One data set's share of the demo: the net, its training, the recovery after a cut, and what may be lost."""

    side: int
    channels: tuple[int, ...]
    hidden: int
    training: Training
    recovery: Finetune
    budget: Budget


SETUPS = {
    "digits": Setup(
        side=8,
        channels=(64, 128),
        hidden=128,
        training=Training(epochs=25, learning_rate=2e-3),
        recovery=Finetune(epochs=12, learning_rate=2e-3),
        budget=Budget(max_metric_drop=0.01),
    ),
    "mnist": Setup(
        side=28,
        channels=(32, 64),
        hidden=128,
        training=Training(epochs=6, learning_rate=2e-3, weight_decay=1e-4),
        recovery=Finetune(epochs=2, learning_rate=2e-3),
        budget=Budget(max_metric_drop=0.003),
    ),
}


def demo(dataset: str, data: Path | None, out: Path, bench: Bench, command: str) -> Generator[Told, None, Run]:
    """Trains, compresses, measures; returns the Run. Raises UnknownNameError for another data set."""
    if dataset not in SETUPS:
        raise UnknownNameError("dataset", dataset, SETUPS, "--dataset")
    setup = SETUPS[dataset]
    training = trained(untrained_task(dataset, data), setup.training)
    task: Task = yield from told(training, lambda progress: Told("teacher", progress))
    folder = open_run(out, task, bench.conditions())
    return (yield from run_recipes(task, recipes(setup), folder, bench, setup.budget, command))


def recipes(setup: Setup) -> tuple[Recipe, ...]:
    """One recipe per family, and all of them together."""
    distilled = replace(setup.recovery, objective=Response(temperature=4.0, alpha=0.9))
    return (
        Recipe((Magnitude(sparsity=0.8), setup.recovery), "pruned weights"),
        Recipe((Channels(pruning_ratio=0.5), setup.recovery), "pruned channels"),
        Recipe((Svd(rank=Ratio(0.4), exclude=("head",)), setup.recovery), "low rank"),
        Recipe((Static(),), "int8"),
        Recipe((Channels(pruning_ratio=0.75), distilled), "distilled"),
        Recipe((Channels(pruning_ratio=0.5), distilled, Static()), "composite"),
    )


def untrained_task(dataset: str, data: Path | None = None, seed: int = 0) -> Task:
    """The task before its model is trained."""
    setup, splits = SETUPS[dataset], digits() if dataset == "digits" else mnist(data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = conv_net(setup.channels, setup.hidden, side=setup.side)
    return image_task(dataset, model, splits, seed)


def image_task(name: str, model: nn.Module, splits: Splits, seed: int = 0) -> Task:
    """A classification task over these splits; calibration is the first 512 training images."""
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = splits.train, splits.validation, splits.test
    return Task(
        name=name,
        model=model,
        example_inputs=train_x[:2],
        train=batches(train_x, train_y, 128, shuffle=True),
        calibration=batches(train_x[:512], train_y[:512], 128),
        validation=batches(val_x, val_y, 500),
        test=batches(test_x, test_y, 500),
        loss=F.cross_entropy,
        metric=accuracy,
        seed=seed,
    )
