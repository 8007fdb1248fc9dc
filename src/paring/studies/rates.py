"""Figures of log-rate models over the same rows: loss, share of the teacher's gain, calibration, ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paring.numerics.resample import counted_auc, mean_draws, percentile_interval, resampled
from paring.studies.sheets import Sheet

Floats = NDArray[np.float64]
NUM_DRAWS = 1_000
COLUMNS = (
    ("name", "row"), ("log_loss", "Poisson log loss"), ("change", "change, %"), ("kept", "gain kept, %"),
    ("calibration", "predicted / observed"), ("auc", "AUC"), ("int8", "int8 costs, %"),
)  # fmt: skip
NOTE = (
    "On {n:,} rows that the nets did not learn from ({folds}). Change: of the Poisson log loss against the teacher's. "
    "Gain kept: how much better than the training rows' constant rate, by how much better the teacher is. Int8 costs: "
    "against the same net in floats. Intervals are 95 %, from {draws:,} draws of the rows, the same rows for every "
    "line. Answers are those of the exported files in ONNX Runtime."
)


def rate_figures(
    target: Floats, constant: Floats, outputs: Mapping[str, Floats], twins: Mapping[str, str], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """By row name: log_loss, change, kept, calibration, auc and int8, each [figure, low, high] or None.

    Args:
        target: what was observed, (n,). constant: log rate of the training rows, (n,).
        outputs: log rates (n,) by name; the first is the teacher's.
        twins: integer row -> the same net in floats.
    """
    names = list(outputs)
    losses = [_loss(constant, target), *(_loss(outputs[name], target) for name in names)]
    terms = np.stack([*losses, *(np.exp(outputs[name]) for name in names), target], 1)
    means, draws = terms.mean(0)[None], mean_draws(terms, times=NUM_DRAWS, seed=seed)
    place = {name: number for number, name in enumerate(names)}

    def both(figure: Any) -> list[float]:
        return [float(figure(means)[0]), *percentile_interval(figure(draws))]

    found = {}
    for name, number in place.items():
        mine, theirs, first = 1 + number, 1 + place.get(twins.get(name, ""), 0), number == 0
        twin = twins.get(name)
        found[name] = {
            "log_loss": both(lambda m, i=mine: m[:, i]),
            "change": None if first else both(lambda m, i=mine: 100 * (m[:, i] / m[:, 1] - 1)),
            "kept": None if first else both(lambda m, i=mine: 100 * (m[:, 0] - m[:, i]) / (m[:, 0] - m[:, 1])),
            "calibration": both(lambda m, i=number: m[:, 1 + len(names) + i] / m[:, -1]),
            "auc": _auc(outputs[name], target, seed),
            "int8": None if twin is None else both(lambda m, i=mine, j=theirs: 100 * (m[:, i] / m[:, j] - 1)),
        }
    return found


def rate_sheet(part: str, figures: Mapping[str, Mapping[str, Any]], n: int, folds: str) -> Sheet:
    """The figures as a table."""
    rows = tuple({"name": name, **values} for name, values in figures.items())
    note = NOTE.format(n=n, folds=folds, draws=NUM_DRAWS)
    return Sheet(f"{part} quality", f"{part}: loss, calibration, ranking", note, COLUMNS, rows)


def _loss(log_rate: Floats, target: Floats) -> Floats:
    loss: Floats = np.exp(log_rate) - log_rate * target
    return loss


def _auc(score: Floats, target: Floats, seed: int) -> list[float] | None:
    positive = target > 0.5
    if positive.all() or not positive.any():
        return None
    statistic = counted_auc(score, positive)
    whole = statistic(np.ones((1, len(score))))
    return [float(whole[0, 0]), *percentile_interval(resampled(statistic, len(score), times=NUM_DRAWS // 4, seed=seed))]
