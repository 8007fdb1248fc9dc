"""The MNIST study: every family on one page, beside the figures of the guide that it follows."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paring.core.edit import Progress
from paring.core.recipe import Recipe
from paring.core.task import Task
from paring.data.digits import digits
from paring.data.mnist import mnist
from paring.data.splits import Splits
from paring.distill.response import Response
from paring.errors import TaskError
from paring.factorize.rank import Ratio
from paring.factorize.svd import Svd
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.magnitude import Magnitude
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.quantize.qat import Qat
from paring.quantize.static import Static
from paring.share.entropy_qat import EntropyQat
from paring.share.kmeans import Kmeans
from paring.share.rate_distortion import RateDistortion
from paring.student.use import Use
from paring.studies.demo import image_task
from paring.studies.layers_look import epochs, ways, zeros
from paring.studies.nets import conv_net, mlp
from paring.studies.study import Claim, Part, Study
from paring.studies.teachers import trained
from paring.train import Training

ABOUT = (
    "A convolutional teacher, a fully connected student with and without it, a wide fully connected net pruned and "
    "factorized, integers before and after training, and all of it together. Every figure is read from the exported "
    "file."
)
STAND_IN = " The digits of scikit-learn stand in for MNIST here: its files were not found."
WAYS = ("zero pruning 80 %", "activation pruning", "redundancy pruning")
NOT_QUICK = ("int4 weights, after training", "the same at a quarter width", "low rank 20 %")
QUICK, QUICK_JUDGED = 4000, 2000  # images of a quick run: for training, and of each split that judges


def mnist_study(data: str | Path | None = None, *, quick: bool = False, seed: int = 0) -> Study:
    """The study on MNIST, or on scikit-learn's digits where MNIST is nowhere; `quick` trains on 4,000 images."""
    splits, name, side = _splits(data, quick)
    teacher = Training(epochs=2 if quick else 6, learning_rate=2e-3, weight_decay=1e-4)
    wide = Training(epochs=3 if quick else 10, learning_rate=1e-3, weight_decay=1e-4)
    image, named = partial(image_task, splits=splits, seed=seed), {"baseline": "teacher"}
    cnn = partial(_cnn, image, name, side, teacher)
    return Study(
        "mnist",
        "MNIST, compressed by every family",
        ABOUT + (STAND_IN if name == "digits" else ""),
        (
            Part("teacher", cnn, _on_the_teacher(quick), named, {"ways": partial(ways, WAYS), "epochs": epochs}),
            Part("student", partial(_taught, cnn, side), _students(quick), named, {"epochs": epochs}),
            Part(
                "wide net",
                partial(_wide, image, name, side, wide),
                _on_the_wide_net(quick),
                {"baseline": "dense"},
                {"zeros": zeros, "epochs": epochs},
            ),
        ),
        CLAIMS,
    )


def _splits(data: str | Path | None, quick: bool) -> tuple[Splits, str, int]:
    try:
        splits = mnist(data)
    except TaskError:
        if data is not None:
            raise
        return digits(), "digits", 8
    if quick:
        splits = splits.first(QUICK, QUICK_JUDGED)
    return splits, "mnist", 28


def _cnn(image: Any, name: str, side: int, training: Training) -> Generator[Progress, None, Task]:
    return (yield from trained(image(f"{name}-cnn", _seeded(lambda: conv_net(side=side))), training))


def _wide(image: Any, name: str, side: int, training: Training) -> Generator[Progress, None, Task]:
    net = _seeded(lambda: mlp((side * side, 512, 256, 128, 10)))
    return (yield from trained(image(f"{name}-wide", net), training))


def _taught(cnn: Any, side: int) -> Generator[Progress, None, Task]:
    task: Task = yield from cnn()
    return replace(task, students={"fc": partial(mlp, (side * side, 128, 64, 10))})


def _seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: nn.Module = make()
    return net


def _on_the_teacher(quick: bool) -> tuple[Recipe, ...]:
    taught = Response(temperature=4.0, alpha=0.9)
    recovery = Finetune(epochs=1 if quick else 2, learning_rate=1e-3, objective=taught)
    few, quarter = 1 if quick else 2, Channels(pruning_ratio=0.75, importance="obs")
    half = replace(quarter, pruning_ratio=0.5)
    paid = EntropyQat(pressure=0.06, epochs=1 if quick else 4, learning_rate=2e-3, objective=taught, bias_bits=5)
    rows = (
        Recipe((Static(),), "int8"),
        Recipe((Static(num_bits=4),), "int4 weights, after training"),
        Recipe((Qat(num_bits=4, epochs=few, learning_rate=5e-4, objective=taught),), "int4 weights, trained (QAT)"),
        Recipe((Magnitude(sparsity=0.8), recovery), "zero pruning 80 %"),
        Recipe((Channels(pruning_ratio=0.5, importance="activation"), recovery), "activation pruning"),
        Recipe((Channels(pruning_ratio=0.5, importance="redundancy"), recovery), "redundancy pruning"),
        Recipe((half, recovery, Static()), "pruned, distilled, int8"),
        Recipe((quarter, recovery, Static()), "the same at a quarter width"),
        Recipe((quarter, recovery, RateDistortion()), "a quarter width, distilled, coded"),
        Recipe((half, paid), "half the width, distilled under the price of its bits"),
    )
    return _few(rows) if quick else rows


def _students(quick: bool) -> tuple[Recipe, ...]:
    epochs = 2 if quick else 10
    alone = Finetune(epochs=epochs, learning_rate=2e-3)
    taught = replace(alone, objective=Response(temperature=4.0, alpha=0.9))
    return (
        Recipe((Use("fc"), alone), "student alone"),
        Recipe((Use("fc"), taught), "student distilled"),
        Recipe((Use("fc"), taught, Static()), "student distilled, int8"),
    )


def _on_the_wide_net(quick: bool) -> tuple[Recipe, ...]:
    few = 1 if quick else 3
    taught = Response(temperature=4.0, alpha=0.9)
    gradual = Cubic(epochs=few, learning_rate=1e-3, objective=taught)
    again, last = Finetune(few, 1e-3, taught), Finetune(1, 2e-4, taught)
    deep = (Magnitude(sparsity=0.92, schedule=gradual), again, Kmeans(num_values=32), last)
    rows = (
        Recipe((Magnitude(sparsity=0.4),), "40 % zeros"),
        Recipe((Obs(sparsity=0.8),), "80 % zeros, solved for"),
        Recipe((Magnitude(sparsity=0.95, schedule=gradual),), "95 % zeros, gradually"),
        Recipe(deep, "deep compression"),
        Recipe((Svd(rank=Ratio(0.2), exclude=("fc4",)),), "low rank 20 %"),
        Recipe((WhitenedSvd(rank=Ratio(0.2), exclude=("fc4",)),), "low rank 20 %, for the data"),
        Recipe((Static(),), "int8"),
    )
    return _few(rows) if quick else rows


def _few(rows: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    return tuple(row for row in rows if str(row) not in NOT_QUICK)


def _metric(row: dict[str, Any], base: dict[str, Any]) -> str:
    return f"{100 * row['metric']:.2f} % (drop {100 * row['drop']:+.2f} points)"


def _size(row: dict[str, Any], base: dict[str, Any]) -> str:
    return f"{base['file_bytes'] / row['file_bytes']:.1f} times smaller at {100 * row['metric']:.2f} %"


def _coded(row: dict[str, Any], base: dict[str, Any]) -> str:
    if row["coded_bytes"] is None:
        return "not coded"
    times = base["file_bytes"] / row["coded_bytes"]
    return f"{times:.1f} times smaller on disk ({row['coded_bytes']:,} bytes) at {100 * row['metric']:.2f} %"


def coded_times(times: float, metric: float) -> Any:
    """Whether a row's coded file is so many times smaller than the baseline's file, above this metric."""

    def holds(row: dict[str, Any], base: dict[str, Any]) -> bool:
        coded = row["coded_bytes"]
        return coded is not None and times * coded <= base["file_bytes"] and row["metric"] > metric

    return holds


def at_least(metric: float) -> Any:
    """Whether a row's metric reaches this."""
    return lambda row, base: row["metric"] >= metric


CLAIMS = (
    Claim("teacher: teacher", "teacher 98.7 %", _metric, at_least(0.987)),
    Claim("student: student alone", "student alone 97.4 %", _metric, at_least(0.974)),
    Claim("student: student distilled", "student distilled 98.0 %", _metric, at_least(0.98)),
    Claim(
        "wide net: 40 % zeros", "29 to 40 % zeros, 1.4 to 1.7 times by non-zeros (indices not counted)", _metric,
        lambda row, base: row["drop"] <= 0.003,
    ),
    Claim(
        "teacher: activation pruning", "72 % smaller, almost as accurate", _size,
        lambda row, base: row["file_bytes"] <= 0.28 * base["file_bytes"] and row["drop"] <= 0.002,
    ),
    Claim(
        "teacher: pruned, distilled, int8", "6 to 8 times (an estimate) at > 97 %", _size,
        lambda row, base: 8 * row["file_bytes"] <= base["file_bytes"] and row["metric"] > 0.97,
    ),
    Claim(
        "teacher: half the width, distilled under the price of its bits", "(ours) 100 times on disk at > 98.5 %",
        _coded, coded_times(100, 0.985),
    ),
    Claim(
        "wide net: deep compression", "(ours) Deep Compression's 40 times at a drop below 0.5 points", _coded,
        lambda row, base: coded_times(40, 0)(row, base) and row["drop"] < 0.005,
    ),
)  # fmt: skip
