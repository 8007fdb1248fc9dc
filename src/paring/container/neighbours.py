"""Sparse neighbours: each decision about a weight is predicted from the weights coded before it.

A matrix is coded line by line (rows, or columns where that is shorter). Is the weight zero, which sign has it, is it
larger than 1, than 2, ...: each decision's probability is a logistic function of what is known by then: how often
the same position decided so in earlier lines, what it and its neighbours were in the last line and in the line
`stride` before (the pixel above, or the same place of a kernel), how dense these lines were. The weights of the
logistic function are fitted when packing and sent in a byte each; all arithmetic is in whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.container.tables import UNIT, log_odds

Array = NDArray[np.int64]
ZERO, SIGN, LARGER = "zero", "sign", "larger"
NUM_FEATURES = {ZERO: 14, SIGN: 7, LARGER: 8}
RECENT = 4
CAP = 3


@dataclass(frozen=True)
class Layout:
    """How many lines and positions, the stride between lines that belong together, and the largest size coded."""

    lines: int
    positions: int
    stride: int
    largest: int
    odds: tuple[int, ...]  # for each decision, how many noes there are to a yes, 1 .. 255

    @property
    def decisions(self) -> tuple[str, ...]:
        """Zero or not, sign, then one for each size above 1."""
        return (ZERO, SIGN, *(LARGER,) * (self.largest - 1))


class History:
    """The lines coded so far and what they say of the next one."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lines = np.zeros((layout.lines + 1, layout.positions), np.int64)  # the last row stands for "none yet"
        self.ones = [np.ones(layout.positions, np.int64) for _ in layout.odds]
        self.noes = [np.full(layout.positions, odds, np.int64) for odds in layout.odds]
        self.at = 0

    def back(self, count: int) -> Array:
        """The line `count` before, zeros where there is none."""
        return np.asarray(self.lines[self.at - count if 0 < count <= self.at else -1])

    def features(self, decision: int, where: Array) -> Array:
        """(len(where), NUM_FEATURES) for the positions `where`, in 1/64."""
        kind = self.layout.decisions[decision]
        if kind == ZERO:
            columns = self._zero(decision)
        else:
            columns = self._sign(decision) if kind == SIGN else self._larger(decision)
        bias = np.full(len(where), UNIT, np.int64)
        return np.stack([bias, *(column[where] for column in columns)], 1)

    def _zero(self, decision: int) -> list[Array]:
        last, above = self.back(1) != 0, self.back(self.layout.stride) != 0
        ones, noes = self.ones[decision], self.noes[decision]
        stride = self.layout.stride
        recent = sum(((self.back(step) != 0).astype(np.int64) for step in range(1, RECENT + 1)), start=0 * ones)
        positions = np.ones_like(ones)
        return [
            log_odds(ones, noes),
            log_odds(around(ones, 1), around(noes, 1)),
            log_odds(around(ones, stride), around(noes, stride)),
            recent * UNIT,
            last * UNIT,
            above * UNIT,
            around(last.astype(np.int64), 1) * UNIT,
            around(above.astype(np.int64), 1) * UNIT,
            positions * _density(last),
            positions * _density(above),
            np.minimum(np.abs(self.back(1)), CAP) * UNIT,
            (self.back(stride + 1) != 0) * UNIT,
            (self.back(2 * stride) != 0) * UNIT,
        ]

    def _sign(self, decision: int) -> list[Array]:
        last, above = np.sign(self.back(1)), np.sign(self.back(self.layout.stride))
        ones, noes = self.ones[decision], self.noes[decision]
        return [
            log_odds(ones, noes),
            last * UNIT,
            above * UNIT,
            around(last, 1) * UNIT,
            around(above, 1) * UNIT,
            np.ones_like(last) * (int(last.sum()) * UNIT * 4 // max(1, len(last))),
        ]

    def _larger(self, decision: int) -> list[Array]:
        last, above = np.abs(self.back(1)), np.abs(self.back(self.layout.stride))
        ones, noes = self.ones[decision], self.noes[decision]
        return [
            log_odds(ones, noes),
            log_odds(self.ones[0], self.noes[0]),
            np.minimum(last, CAP) * UNIT,
            np.minimum(above, CAP) * UNIT,
            np.minimum(around(last, 1), CAP) * UNIT,
            np.ones_like(last) * _density(last != 0),
            (last > decision - 1) * UNIT,
        ]

    def add(self, line: Array) -> None:
        """Takes in the line just coded, (positions,)."""
        self.lines[self.at] = line
        self.at += 1
        size = np.abs(line)
        for decision, (taken, outcome) in enumerate(decided(line, size, len(self.ones))):
            self.ones[decision] += taken & outcome
            self.noes[decision] += taken & ~outcome


def decided(line: Array, size: Array, count: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each decision where it was taken, and where the answer was yes."""
    nonzero = size > 0
    found = [(np.ones_like(nonzero), nonzero), (nonzero, line > 0)]
    return found + [(size >= level, size > level) for level in range(1, count - 1)]


def around(values: Array, distance: int) -> Array:
    """The sum of the two values `distance` away on either side."""
    total = np.zeros_like(values)
    if 0 < distance < len(values):
        total[distance:] += values[:-distance]
        total[:-distance] += values[distance:]
    return total


def _density(mask: NDArray[np.bool_]) -> int:
    ones = int(mask.sum())
    return int(log_odds(np.array(ones), np.array(len(mask) - ones)))


def code_line(history: History, choose: Callable[[int, Array, Array], NDArray[np.bool_]]) -> Array:
    """One line, (positions,): asks `choose(decision, where, features)` for each decision in turn."""
    layout = history.layout
    everywhere = np.arange(layout.positions)
    nonzero = everywhere[choose(0, everywhere, history.features(0, everywhere))]
    line = np.zeros(layout.positions, np.int64)
    if not len(nonzero):
        return line
    positive = choose(1, nonzero, history.features(1, nonzero))
    size = np.ones(len(nonzero), np.int64)
    left = np.arange(len(nonzero))
    for level in range(1, layout.largest):
        where = nonzero[left]
        left = left[choose(level + 1, where, history.features(level + 1, where))]
        if not len(left):
            break
        size[left] += 1
    line[nonzero] = np.where(positive, size, -size)
    return line
