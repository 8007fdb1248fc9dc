"""How an option moves a model's answers, as a vector whose half squared length is what it loses.

To first order the moves of several options add up, and so half the squared length of their sum is what they lose
together (the divergence's second order). Legend: N numbers of a move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MOST_NUMBERS = 1024  # of a move; longer ones are folded, which leaves products of two right on average
CHUNK = 1 << 20

Floats = NDArray[np.float64]


def direction_of(before: Tensor, after: Tensor, kind: str) -> Floats:
    """The direction from answers to others in the metric of their divergence: (n,), n at most MOST_NUMBERS."""
    before, difference = before.double(), after.double() - before.double()
    if kind == "classes":
        p = before.movedim(1, -1).softmax(-1)
        rows = difference.movedim(1, -1)
        weighted = p.sqrt() * (rows - (p * rows).sum(-1, keepdim=True))
    elif kind == "logit":
        p = before.sigmoid()
        weighted = (p * (1 - p)).sqrt() * difference
    else:
        weighted = (before / 2).exp() * difference if kind == "log rate" else difference
    return as_long_as(_folded(weighted.flatten().cpu().numpy()), 0.5)


def as_long_as(move_N: Floats, loss: float) -> Floats:
    """The move in its direction, half its squared length being `loss`."""
    length = float(np.linalg.norm(move_N))
    return move_N * (np.sqrt(2 * max(loss, 0.0)) / length if length > 0 else 0.0)


def to_bytes(direction_N: Floats) -> bytes:
    """In half precision."""
    return direction_N.astype("<f2").tobytes()


def from_bytes(data: bytes) -> Floats:
    """What `to_bytes` wrote."""
    return np.frombuffer(data, "<f2").astype(np.float64)


def _folded(move_N: Floats) -> Floats:
    """Numbers thrown into MOST_NUMBERS sums under signs, which each number's place decides."""
    if len(move_N) <= MOST_NUMBERS:
        return move_N
    total = np.zeros(MOST_NUMBERS)
    for begin in range(0, len(move_N), CHUNK):
        part = move_N[begin : begin + CHUNK]
        drawn = _mixed(np.arange(begin, begin + len(part), dtype=np.uint64))
        signs = np.where(drawn >> np.uint64(63), 1.0, -1.0)
        total += np.bincount((drawn % np.uint64(MOST_NUMBERS)).astype(np.intp), signs * part, MOST_NUMBERS)
    return total


def _mixed(places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits that look random (splitmix64: Steele, Lea & Flood 2014), the same ones everywhere."""
    z = (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
