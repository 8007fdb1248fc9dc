"""Logarithms and the logistic function in whole numbers, so that every machine decodes the same bits.

Each entry is a rounded value of a smooth function, far from a tie, so that the last bit of `math.log` cannot show.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
UNIT = 64  # of a natural logarithm
WEIGHT_UNIT = 32  # of a weight of a feature
STEPS = 256  # of a logit in the table of the logistic function
REACH = 11 * STEPS
PRECISION = 65536  # of a probability
MAX_COUNT = 1 << 16


@cache
def logarithms() -> Ints:
    """`round(64 ln(n + 0.4))` for n = 0 .. 65536."""
    table = np.array([round(UNIT * math.log(n + 0.4)) for n in range(MAX_COUNT + 1)], np.int64)
    table.setflags(write=False)
    return table


@cache
def logistic() -> NDArray[np.float64]:
    """Probabilities in 1/65536 for logits -11 .. 11 in steps of 1/256."""
    table = np.array(
        [round(PRECISION / (1 + math.exp(-step / STEPS))) for step in range(-REACH, REACH + 1)], np.float64
    )
    table = np.clip(table, 1, PRECISION - 1) / PRECISION
    table.setflags(write=False)
    return table


def log_odds(ones: Ints, zeros: Ints) -> Ints:
    """The log-odds that these counts suggest, in 1/64."""
    table = logarithms()
    return np.asarray(table[np.minimum(ones, MAX_COUNT)] - table[np.minimum(zeros, MAX_COUNT)])


def chances(features: Ints, weights: Ints) -> NDArray[np.float64]:
    """Probabilities, (n,), of features (n, k) in 1/64 under weights (k,) in 1/32."""
    logits = (features @ weights) >> 3  # 1/2048 to 1/256
    return np.asarray(logistic()[np.clip(logits, -REACH, REACH) + REACH])
