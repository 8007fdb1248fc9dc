"""Where counts start from: how likely a symbol is by its distance from zero, in three bytes.

`w(0) = c`, `w(1) = 1`, `w(d + 1) = w(d) r q^(d - 1)`: geometric for q = 1 and falling faster, towards a normal
distribution, for q below it; c says how much more or less often zero itself comes. All in whole numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from paring.container.counts import SCALE, Ints

NUM_BYTES = 3
ONE = 1 << 24
UNIT = 1 << 16
ZERO_UNIT = 32  # of the byte that says how often zero comes
COARSE_RATIOS, COARSE_BENDS = range(7, 256, 16), (0, 1, 2, 4, 8, 16, 32, 64, 128, 255)

Shape = tuple[int, int, int]
Array = NDArray[np.int64]


def priors_of(shapes: list[Shape], num_symbols: int, zero: int) -> Array:
    """What each shape expects of the symbols, (shapes, K), whole numbers above 0 that add up to about `SCALE`."""
    distance_K = np.abs(np.arange(num_symbols) - zero)
    found = []
    for shape in shapes:
        weight_K = _weights(shape, int(distance_K.max()) + 1)[distance_K]
        found.append(np.maximum(1, weight_K * SCALE // weight_K.sum()))
    return np.stack(found)


def fitted_shape(symbols: Ints, num_symbols: int, zero: int) -> Shape:
    """The shape under which these symbols code shortest."""
    distance_K = np.abs(np.arange(num_symbols) - zero)
    seen_D = np.bincount(np.abs(symbols - zero), minlength=int(distance_K.max()) + 1)
    sides_D = np.bincount(distance_K)
    best = _best(seen_D, sides_D, *_coarse(len(seen_D)))
    for step in (8, 4, 2, 1):
        _, (_, ratio, bend) = best
        near = [(ratio + a, bend + b) for a in (-step, 0, step) for b in (-step, 0, step)]
        near_S2 = np.array([(r, q) for r, q in near if 0 <= r < 256 and 0 <= q < 256])
        best = min(best, _best(seen_D, sides_D, near_S2, _tails(near_S2, len(seen_D))))
    return best[1]


def _best(seen_D: Array, sides_D: Array, shapes_S2: Array, tail_SD: Array) -> tuple[float, Shape]:
    """(bits, shape) of the best of these (ratio, bend), each with the byte of zero that fits it best."""
    rest_S, others = (tail_SD * sides_D)[:, 1:].sum(1), int(seen_D[1:].sum())
    wanted_S = rest_S * int(seen_D[0]) / max(1, others) * ZERO_UNIT / ONE
    zero_S = np.clip(np.rint(wanted_S).astype(np.int64) - 1, 0, 255)
    weight_SD = tail_SD.copy()
    weight_SD[:, 0] = ONE // ZERO_UNIT * (zero_S + 1)
    chance_SD = weight_SD / (weight_SD * sides_D).sum(1, keepdims=True)
    bits_S = -(seen_D * np.log2(chance_SD)).sum(1)
    best = int(bits_S.argmin())
    return float(bits_S[best]), (int(zero_S[best]), int(shapes_S2[best, 0]), int(shapes_S2[best, 1]))


@lru_cache(maxsize=64)
def _coarse(count: int) -> tuple[Array, Array]:
    shapes_S2 = np.array([(ratio, bend) for ratio in COARSE_RATIOS for bend in COARSE_BENDS])
    return shapes_S2, _tails(shapes_S2, count)


def _weights(shape: Shape, count: int) -> Array:
    zero, *tail = shape
    weight_D: Array = _tails(np.array([tail]), count)[0]
    weight_D[0] = ONE // ZERO_UNIT * (zero + 1)
    return weight_D


def _tails(shapes_S2: Array, count: int) -> Array:
    """The weights of (ratio, bend) by distance, (S, count); those of zero are left at 0."""
    weight_SD = np.zeros((len(shapes_S2), count), np.int64)
    weight_S, factor_S = np.full(len(shapes_S2), ONE), (shapes_S2[:, 0] + 1) << 8
    fall_S = UNIT - (shapes_S2[:, 1] << 5)
    for distance in range(1, count):
        weight_SD[:, distance] = weight_S
        weight_S = np.maximum(1, weight_S * factor_S >> 16)
        factor_S = factor_S * fall_S >> 16
    return weight_SD
