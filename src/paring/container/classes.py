"""Finds row and column classes under which a matrix codes shortest. Used when packing only."""

from __future__ import annotations

import numpy as np

from paring.container.counts import MAX_CLASSES, Classes, Ints

REFINEMENTS = 3
SAMPLE = 1 << 22  # entries looked at


def find_classes(symbols_RC: Ints, zero: int, num_symbols: int, most: int) -> Classes:
    """Classes of at most `most` <= MAX_CLASSES values, from the mean size of a line, then refined by code length.

    Args:
        symbols_RC: symbols 0 .. num_symbols - 1 as a matrix.
        zero: the index of the symbol 0.
    """
    assert 1 < most <= MAX_CLASSES
    size_RC = np.abs(symbols_RC - zero)
    rows, columns = _by_size(size_RC.mean(1), most), _by_size(size_RC.mean(0), most)
    for _ in range(REFINEMENTS):
        cost_TK = _costs(symbols_RC, rows, columns, num_symbols, 2 * most - 1)
        rows = _cheapest(symbols_RC, columns, cost_TK, most)
        cost_TK = _costs(symbols_RC, rows, columns, num_symbols, 2 * most - 1)
        columns = _cheapest(np.ascontiguousarray(symbols_RC.T), rows, cost_TK, most)
    return Classes(rows, columns)


def _by_size(mean: np.ndarray, most: int) -> Ints:
    """Equal steps of the logarithm of the mean size."""
    logs = np.log(mean + 1e-3)
    low, high = float(logs.min()), float(logs.max())
    if high - low < 1e-9:
        return np.zeros(len(mean), np.int32)
    return np.minimum((logs - low) / (high - low) * most, most - 1).astype(np.int32)


def _costs(symbols_RC: Ints, rows: Ints, columns: Ints, num_symbols: int, num_contexts: int) -> np.ndarray:
    """Bits of each symbol in each context, (T, K), from the counts there."""
    context_RC = rows[:, None] + columns[None, :]
    flat = context_RC.astype(np.int64) * num_symbols + symbols_RC
    seen = np.bincount(flat.ravel(), minlength=num_contexts * num_symbols).reshape(num_contexts, num_symbols)
    pooled = (seen.sum(0) + 0.1) / (seen.sum() + 0.1 * num_symbols)
    own = seen + 2.0 * pooled
    return np.asarray(-np.log2(own / own.sum(1, keepdims=True)))


def _cheapest(symbols_RC: Ints, columns: Ints, cost_TK: np.ndarray, most: int) -> Ints:
    """The class of each row with which the row's symbols cost least."""
    R, num_symbols = len(symbols_RC), cost_TK.shape[1]
    num_columns = int(columns.max()) + 1
    flat = (np.arange(R)[:, None] * num_columns + columns[None, :]).astype(np.int64) * num_symbols + symbols_RC
    seen = np.bincount(flat.ravel(), minlength=R * num_columns * num_symbols).reshape(R, -1)
    total = np.stack([seen @ cost_TK[r : r + num_columns].ravel() for r in range(most)], 1)
    best: Ints = total.argmin(1).astype(np.int32)
    return np.asarray(best - best.min(), np.int32)
