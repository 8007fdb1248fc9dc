"""How an option moves a model's answers, as a vector whose half squared length is what it loses.

To first order the moves of several options add up, and so half the squared length of their sum is what they lose
together (the divergence's second order). Legend: N numbers of a move.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MOST_NUMBERS = 2048  # of a move; longer ones are folded, which leaves products of two right on average

Floats = NDArray[np.float64]


def move_of(before: Tensor, after: Tensor, kind: str, loss: float) -> Floats:
    """The move from answers to others, as long as its loss says: (n,), n at most MOST_NUMBERS."""
    difference = after.double() - before.double()
    if kind == "classes":
        p = before.double().movedim(1, -1).softmax(-1)
        rows = difference.movedim(1, -1)
        weighted = p.sqrt() * (rows - (p * rows).sum(-1, keepdim=True))
    elif kind == "logit":
        p = before.double().sigmoid()
        weighted = (p * (1 - p)).sqrt() * difference
    else:
        weighted = (before.double() / 2).exp() * difference if kind == "log rate" else difference
    return as_long_as(_folded(weighted.flatten().numpy()), loss)


def as_long_as(move_N: Floats, loss: float) -> Floats:
    """The move in its direction, half its squared length being `loss`."""
    length = float(np.linalg.norm(move_N))
    return move_N * (np.sqrt(2 * max(loss, 0.0)) / length if length > 0 else 0.0)


def _folded(move_N: Floats) -> Floats:
    """Numbers thrown into MOST_NUMBERS sums under signs, the same ones for every move of this length."""
    if len(move_N) <= MOST_NUMBERS:
        return move_N
    rng = np.random.default_rng(len(move_N))
    places_N, signs_N = rng.integers(MOST_NUMBERS, size=len(move_N)), rng.choice((-1.0, 1.0), len(move_N))
    return np.bincount(places_N, signs_N * move_N, MOST_NUMBERS).astype(np.float64)


def to_text(move_N: Floats) -> str:
    """For JSON: single precision in base64."""
    return b64encode(move_N.astype("<f4").tobytes()).decode()


def from_text(text: str) -> Floats:
    """What `to_text` wrote."""
    return np.frombuffer(b64decode(text), "<f4").astype(np.float64)
