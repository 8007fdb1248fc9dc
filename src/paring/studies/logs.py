"""Conversion logs as tasks: which column is the label, how long to train, and folds for cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Task, outputs_and_targets
from paring.data.batches import batches
from paring.data.conversions import bank_marketing, hillstrom, online_shoppers
from paring.data.made_log import NOTHING, made_log
from paring.data.schema import read_csv
from paring.data.tables import Table
from paring.measure.metrics import poisson_log_loss
from paring.studies.nets import ConversionNet

FOLDS = 5
Net = Callable[[tuple[int, ...], int], nn.Module]


@dataclass(frozen=True)
class Experiment:
    """Which category says what a customer was sent, which of its values is nothing, and what came of it."""

    column: str
    outcome: str
    arms: tuple[str, ...]
    nothing: int


@dataclass(frozen=True)
class Log:
    """A conversion log. `load` takes the data folder; `label` is what is learned; `epochs` are the student's."""

    name: str
    load: Callable[[Path | None], Table]
    label: str
    epochs: int
    teacher_epochs: int
    experiment: Experiment | None = None


MAILS = Experiment("segment", "spend", ("men's mail", "no mail", "women's mail"), 1)
MADE = Experiment("arm", "spend", ("nothing", "first offer", "second offer"), NOTHING)
LOGS = {
    log.name: log
    for log in (
        Log("online-shoppers", online_shoppers, "Revenue", 20, 8),
        Log("bank-marketing", bank_marketing, "y", 6, 5),
        Log("hillstrom", hillstrom, "visit", 6, 5, MAILS),
    )
}
STAND_IN = Log("made-up", lambda data: made_log(), "visit", 8, 8, MADE)


def csv_log(csv: Path, schema: Path) -> Log:
    """A log of the user's own. Raises as `paring.data.schema.read_csv` does."""
    table, label = read_csv(csv, schema)
    return Log(csv.stem, lambda data: table, label, *((20, 8) if len(table) < 20_000 else (6, 5)))


@dataclass(frozen=True)
class Fold:
    """One of five folds: three parts to train on, one to validate, one to test; `rate` is the training rows' own."""

    task: Task
    rate: float
    table: Table
    train: Tensor
    test: Tensor

    def inputs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What the net takes of these rows of the table."""
        return self.table.rows(rows, scaled_by=self.train)


def dropped_net(sizes: tuple[int, ...], num_numbers: int) -> nn.Module:
    """The teacher of benchmarks/distill."""
    return ConversionNet(sizes, num_numbers, widths=(256, 128), dropout=0.5)


def small_net(sizes: tuple[int, ...], num_numbers: int) -> nn.Module:
    """The student of benchmarks/distill."""
    return ConversionNet(sizes, num_numbers, widths=(48, 24))


def log_fold(log: Log, table: Table, seed: int, teacher: Net = dropped_net, student: Net = small_net) -> Fold:
    """Fold `seed % 5` of the table, shuffled anew every five seeds.

    The teacher is untrained, the student called "small".
    """
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(100 + seed // FOLDS))
    parts = list(order.tensor_split(FOLDS))
    test, validation = parts[seed % FOLDS], parts[(seed + 1) % FOLDS]
    train = torch.cat([part for place, part in enumerate(parts) if place not in (seed % FOLDS, (seed + 1) % FOLDS)])
    y = table.targets[log.label][:, None]

    def of(rows: Tensor, **how: Any) -> Any:
        return batches(table.rows(rows, scaled_by=train), y[rows], **how)

    shape = table.sizes, len(table.number_names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = teacher(*shape)
    task = Task(
        name=f"{log.name}-{seed}",
        model=model,
        example_inputs=table.rows(train[:2], scaled_by=train),
        train=of(train, batch_size=256, shuffle=True),
        calibration=of(train[:2048], batch_size=512),
        validation=of(validation, batch_size=4096),
        test=of(test, batch_size=4096),
        loss=poisson_loss,
        metric=poisson_log_loss,
        students={"small": partial(student, *shape)},
        seed=seed,
    )
    return Fold(task, float(y[train].mean()), table, train, test)


@torch.no_grad()
def calibrated(task: Task) -> Task:
    """The task with its net's head shifted so that on validation the predicted total is the observed one.

    The net ends in `head`, a Linear with a bias that is added to the log rate.
    """
    log_rates, counts = outputs_and_targets(task, task.model, task.validation)
    shift = float((counts.double().sum() / log_rates.double().exp().sum()).log())
    model = copy.deepcopy(task.model)
    model.get_submodule("head").bias.add_(shift)  # type: ignore[operator]
    return replace(task, model=model)


def poisson_loss(log_rate: Tensor, count: Tensor) -> Tensor:
    """Mean of exp(u) - u y."""
    return (log_rate.exp() - log_rate * count).mean()
