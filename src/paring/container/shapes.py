"""Where counts start from: how likely a symbol is by its distance from zero, in three bytes.

`w(0) = c`, `w(1) = 1`, `w(d + 1) = w(d) r q^(d - 1)`: geometric for q = 1 and falling faster, towards a normal
distribution, for q below it; c says how much more or less often zero itself comes. All in whole numbers.
"""

from __future__ import annotations

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
    best = min(_best_zero(seen_D, sides_D, r, q) for r in COARSE_RATIOS for q in COARSE_BENDS)
    for step in (8, 4, 2, 1):
        _, (_, ratio, bend) = best
        near = {(ratio + a, bend + b) for a in (-step, 0, step) for b in (-step, 0, step)}
        best = min(best, *(_best_zero(seen_D, sides_D, r, q) for r, q in near if 0 <= r < 256 and 0 <= q < 256))
    return best[1]


def _best_zero(seen_D: Array, sides_D: Array, ratio: int, bend: int) -> tuple[float, Shape]:
    """(bits, shape) for the byte of zero that fits best."""
    weight_D = _weights((0, ratio, bend), len(seen_D)) * sides_D
    rest, others = int(weight_D[1:].sum()), int(seen_D[1:].sum())
    wanted = rest * int(seen_D[0]) / max(1, others) * ZERO_UNIT / ONE
    shape = (int(np.clip(round(wanted) - 1, 0, 255)), ratio, bend)
    weight_D = _weights(shape, len(seen_D))
    chance_D = weight_D / float((weight_D * sides_D).sum())
    return float(-(seen_D * np.log2(chance_D)).sum()), shape


def _weights(shape: Shape, count: int) -> Array:
    zero, ratio, bend = shape
    weights, factor, fall = [ONE // ZERO_UNIT * (zero + 1), ONE], (ratio + 1) << 8, UNIT - (bend << 5)
    while len(weights) < count:
        weights.append(max(1, weights[-1] * factor >> 16))
        factor = factor * fall >> 16
    return np.array(weights[:count], np.int64)
