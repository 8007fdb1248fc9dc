"""Adaptive counts: how often each symbol came so far, per class of its row and of its column.

A tensor is seen as a matrix (R rows, C columns). Each row and each column has a small class, which is transmitted, and
the sum of the two is the context of an entry: a matrix whose rows and columns are of different density or scale is
coded nearly as if each entry's own distribution were known. Counts grow from chunk to chunk, so no table is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
FIRST_CHUNK, LARGEST_CHUNK = 16, 1 << 16
PRIOR_WEIGHT = 2
SHAPED_WEIGHT = 32  # of a prior that was fitted
SCALE = 1 << 16  # of shares of a count; chances are whole numbers, so that every machine computes the same ones
MAX_CLASSES = 16
FEW_SYMBOLS = 24


@dataclass(frozen=True)
class Classes:
    """Class of each row, (R,), and of each column, (C,): 0 .. MAX_CLASSES - 1."""

    rows: Ints
    columns: Ints

    @property
    def count(self) -> int:
        """How many contexts there are."""
        return int(self.rows.max(initial=0)) + int(self.columns.max(initial=0)) + 1

    def contexts(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Contexts of the entries start .. stop of the flattened matrix."""
        width = len(self.columns)
        first, last = start // width, (stop - 1) // width + 1
        whole = self.rows[first:last, None].astype(np.uint8) + self.columns.astype(np.uint8)
        return whole.ravel()[start - first * width : stop - first * width]


class Counts:
    """What has been seen, per context: (contexts, K). `zero` is the index of the symbol 0, if it is one of the K.

    `priors` (contexts, K) is what each context expects at the start, of a sum of SCALE; without it the contexts start
    from what all have seen together.
    """

    def __init__(
        self, num_contexts: int, num_symbols: int, zero: int | None, priors: NDArray[np.int64] | None = None
    ) -> None:
        self.seen = np.zeros((num_contexts, num_symbols), np.int64)
        self.priors = priors
        distance = np.abs(np.arange(num_symbols) - (0 if zero is None else zero))
        prior = np.full(num_symbols, SCALE) if zero is None else SCALE // (1 + distance)
        self.prior = np.maximum(1, prior * SCALE // prior.sum())
        # Where there are many symbols, what was seen near one says something of it too.
        self.reach = num_symbols // 12 if num_symbols > FEW_SYMBOLS else 0
        self.near_weight = num_symbols
        self.own_weight = num_symbols if self.reach else PRIOR_WEIGHT

    def chances(self) -> Floats:
        """Weights of the symbols in every context, (contexts, K), whole and above 0: a context's own counts, then those
        of all contexts, then the prior."""
        if self.priors is not None:
            return np.asarray(self.seen * SCALE + SHAPED_WEIGHT * self.priors, np.float64)
        total = self.seen.sum(0)
        count = int(total.sum())
        below = np.maximum(1, (total * SCALE + PRIOR_WEIGHT * self.prior) // (count + PRIOR_WEIGHT))
        if self.reach:
            blurred = np.maximum(1, _blurred(_blurred(below, self.reach), self.reach))
            below = np.maximum(1, (total * SCALE + self.near_weight * blurred) // (count + self.near_weight))
        return np.asarray(self.seen * SCALE + self.own_weight * below, np.float64)

    def add(self, context: int, symbols: Ints) -> None:
        """Takes in what was coded."""
        self.seen[context] += np.bincount(symbols, minlength=self.seen.shape[1])


def chunks(size: int) -> Iterator[tuple[int, int]]:
    """Bounds of chunks of a quarter of what came before, from 16 to 65,536."""
    start, length = 0, FIRST_CHUNK
    while start < size:
        yield start, min(size, start + length)
        start, length = start + length, min(LARGEST_CHUNK, max(length, (start + length) // 4))


def groups(contexts: NDArray[np.uint8] | None, count: int) -> tuple[Any, list[tuple[int, slice]]]:
    """The entries of one chunk context by context: their order, and (context, where it lies in that order)."""
    if contexts is None:
        return slice(None), [(0, slice(0, count))]
    bounds = np.concatenate(([0], np.cumsum(np.bincount(contexts)))).tolist()
    found = [(one, slice(*ends)) for one, ends in enumerate(pairwise(bounds)) if ends[0] < ends[1]]
    return np.argsort(contexts, kind="stable"), found


def encode_counts(
    encoder: Any,
    symbols: Ints,
    num_symbols: int,
    zero: int | None,
    classes: Classes | None,
    priors: NDArray[np.int64] | None = None,
) -> float:
    """Codes symbols 0 .. num_symbols - 1, (n,); returns their code length in bits under this model."""
    counts = Counts(1 if classes is None else classes.count, num_symbols, zero, priors)
    bits = 0.0
    for start, stop in chunks(len(symbols)):
        order, found = groups(None if classes is None else classes.contexts(start, stop), stop - start)
        part = np.ascontiguousarray(symbols[start:stop][order])
        tables = counts.chances()  # none is added to within a chunk
        for context, where in found:
            chances = tables[context]
            bits -= float(np.log2(chances / chances.sum())[part[where]].sum())
            encoder.encode(part[where], _model(chances))
        for context, where in found:
            counts.add(context, part[where])
    return bits


def decode_counts(
    decoder: Any,
    size: int,
    num_symbols: int,
    zero: int | None,
    classes: Classes | None,
    priors: NDArray[np.int64] | None = None,
) -> Ints:
    """What `encode_counts` coded, (size,). Raises what constriction raises for a stream that is none."""
    counts = Counts(1 if classes is None else classes.count, num_symbols, zero, priors)
    symbols = np.empty(size, np.int32)
    for start, stop in chunks(size):
        order, found = groups(None if classes is None else classes.contexts(start, stop), stop - start)
        tables = counts.chances()
        parts = [decoder.decode(_model(tables[context]), where.stop - where.start) for context, where in found]
        symbols[start:stop][order] = np.concatenate(parts)
        for (context, _), part in zip(found, parts, strict=True):
            counts.add(context, part)
    return symbols


def _model(chances: Floats) -> Any:
    # One symbol needs no code, and constriction wants at least two.
    padded = chances if len(chances) > 1 else np.array([1.0, 1e-9])
    return constriction.stream.model.Categorical(padded, perfect=False)


def _blurred(values: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Each value's mean with those up to `reach` away, rounded down."""
    sums = np.concatenate(([0], np.cumsum(values)))
    place = np.arange(len(values))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) // (high - low))
