"""The stream of the neighbour model: a matrix without its empty lines, decision by decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from paring.container.counts import decode_counts, encode_counts
from paring.container.logistic import fit
from paring.container.neighbours import NUM_FEATURES, History, Layout, code_line, decided
from paring.container.reading import Reader, number
from paring.container.tables import chances
from paring.errors import CorruptFileError

Array = NDArray[np.int64]
LARGEST_SIZE = 15
LARGEST_STRIDE = 1 << 16
LINES_A_POSITION = 64  # a line takes a reader as long, whatever it holds: matrices of many short ones are not coded so
FREE_LINES, LINES_A_BYTE = 64, 2  # nor more lines that hold anything than these and so many a byte


@dataclass(frozen=True)
class Fitted:
    """A layout with the weights of each decision."""

    layout: Layout
    weights: tuple[NDArray[np.int64], ...]


def encode_sparse(encoder: Any, values_LP: Array, stride: int) -> tuple[bytes, float]:
    """Codes whole numbers of size 1 .. LARGEST_SIZE at most, (lines, positions); returns (parameters, bits in all)."""
    full = values_LP != 0
    bits = 0.0
    for axis in (1, 0):
        flags = full.any(axis).astype(np.int32)
        bits += encode_counts(encoder, flags, 2, None, None)
    kept = np.ascontiguousarray(values_LP[full.any(1)][:, full.any(0)])
    if not kept.size:
        return number(0), bits
    model = fitted(kept, stride)
    history = History(model.layout)
    for line in kept:
        answers = decided(line, np.abs(line), len(model.weights))

        def choose(decision: int, where: Array, features: Array, answers: Any = answers) -> NDArray[np.bool_]:
            nonlocal bits
            p, answer = chances(features, model.weights[decision]), answers[decision][1][where]
            encoder.encode(answer.astype(np.int32), constriction.stream.model.Bernoulli(perfect=False), p)
            bits -= float(np.log2(np.where(answer, p, 1 - p)).sum())
            return np.asarray(answer)

        history.add(code_line(history, choose))
    layout = model.layout
    head = number(layout.largest) + number(stride) + bytes(layout.odds)
    head += b"".join(weights.astype(np.int8).tobytes() for weights in model.weights)
    return head, bits + 8 * len(head)


def fitted(values_LP: Array, stride: int) -> Fitted:
    """The layout and weights under which these lines code shortest."""
    size, largest = np.abs(values_LP), int(np.abs(values_LP).max())
    odds = []
    for taken, outcome in decided(values_LP.ravel(), size.ravel(), largest + 1):
        ones = int((taken & outcome).sum())
        odds.append(int(np.clip(round((int(taken.sum()) - ones) / max(1, ones)), 1, 255)))
    layout = Layout(values_LP.shape[0], values_LP.shape[1], stride, largest, tuple(odds))
    seen: list[list[Any]] = [[] for _ in odds]
    history = History(layout)
    for line in values_LP:
        answers = decided(line, np.abs(line), len(odds))

        def choose(decision: int, where: Array, features: Array, answers: Any = answers) -> NDArray[np.bool_]:
            answer = answers[decision][1][where]
            seen[decision].append((features.astype(np.int16), answer))
            return np.asarray(answer)

        history.add(code_line(history, choose))
    weights = []
    for kind, parts in zip(layout.decisions, seen, strict=True):
        if parts:
            weights.append(fit(np.concatenate([f for f, _ in parts]), np.concatenate([a for _, a in parts])))
        else:
            weights.append(np.zeros(NUM_FEATURES[kind], np.int64))
    return Fitted(layout, tuple(weights))


def suits(lines: int, positions: int) -> bool:
    """Whether a matrix of this shape may be coded line by line."""
    return lines <= LINES_A_POSITION * (1 + positions)


def pays(kept_lines: int, num_bytes: int) -> bool:
    """Whether so many lines that hold anything may stand in so many bytes."""
    return kept_lines <= FREE_LINES + LINES_A_BYTE * num_bytes


def decode_sparse(decoder: Any, reader: Reader, lines: int, positions: int) -> Array:
    """What `encode_sparse` coded, (lines, positions); `reader` stands at the parameters."""
    values = np.zeros((lines, positions), np.int64)
    largest = reader.number(LARGEST_SIZE)
    stride = 0
    odds: tuple[int, ...] = ()
    weights = []
    if largest:
        stride = reader.number(LARGEST_STRIDE)
        odds = tuple(max(1, value) for value in reader.take(largest + 1))
    layout = Layout(lines, positions, stride, largest, odds)
    if largest:
        for kind in layout.decisions:
            weights.append(np.frombuffer(reader.take(NUM_FEATURES[kind]), np.int8).astype(np.int64))
    body = reader.rest()
    stream = decoder(body)
    full_lines = decode_counts(stream, lines, 2, None, None).astype(bool)
    full_positions = decode_counts(stream, positions, 2, None, None).astype(bool)
    kept_lines, kept_positions = np.flatnonzero(full_lines), np.flatnonzero(full_positions)
    if not pays(len(kept_lines), len(body)):
        raise CorruptFileError("a stream in it promises more lines than it has bytes for")
    if not (largest and len(kept_lines) and len(kept_positions)):
        return values
    layout = Layout(len(kept_lines), len(kept_positions), stride, largest, odds)
    history = History(layout)
    bernoulli = constriction.stream.model.Bernoulli(perfect=False)

    def choose(decision: int, where: Array, features: Array) -> NDArray[np.bool_]:
        return np.asarray(stream.decode(bernoulli, chances(features, weights[decision])).astype(bool))

    for place in kept_lines:
        line = code_line(history, choose)
        history.add(line)
        values[place, kept_positions] = line
    return values
