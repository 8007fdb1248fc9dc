"""constriction's two entropy coders, what they say as bytes: the range coder, and ANS, which decodes faster.

Both take the same calls in the same order. ANS takes back what was put in last first, so that its encoder keeps the
calls of a whole tensor and codes them from the end. What the range coder says is a number in an interval that narrows
with every symbol; of all in the last interval the one of fewest bytes is written, which is within a byte of the least.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np

WORD_BYTES, STATE_BYTES = 4, 8  # of constriction's default coders


class Stack:
    """An ANS encoder with the calls of `RangeEncoder`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def encode(self, symbols: Any, model: Any, *parameters: Any) -> None:
        """Keeps the call."""
        self.calls.append((symbols, model, *parameters))

    def get_compressed(self) -> Any:
        """The words."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, *model in reversed(self.calls):
            coder.encode_reverse(symbols, *model)
        return coder.get_compressed()


def encoder_of(*, ans: bool) -> Any:
    """An encoder to which symbols and models are given."""
    return Stack() if ans else constriction.stream.queue.RangeEncoder()


def packed(encoder: Any) -> bytes:
    """What was coded, in as few bytes as decode to it."""
    if isinstance(encoder, Stack):
        return bytes(encoder.get_compressed().astype(">u4").tobytes())
    position, (low, span) = encoder.pos()  # whole words before the state, and the state: the interval's start and size
    size = WORD_BYTES * position + STATE_BYTES
    inside = int.from_bytes(encoder.get_compressed().astype(">u4").tobytes().ljust(size, b"\0"), "big")
    start = inside - (inside - low) % (1 << 8 * STATE_BYTES)
    shortest, left_out = start, 0
    while left_out < size and (rounded := -(-start >> 8 * (left_out + 1)) << 8 * (left_out + 1)) < start + span:
        shortest, left_out = rounded, left_out + 1
    return int(shortest).to_bytes(size, "big")[: size - left_out]


def unpacked(data: memoryview, *, ans: bool = False) -> Any:
    """A decoder over what `packed` gave."""
    padded = bytes(data) + b"\0" * (-len(data) % WORD_BYTES)
    words = np.frombuffer(padded, ">u4").astype(np.uint32)
    return constriction.stream.stack.AnsCoder(words) if ans else constriction.stream.queue.RangeDecoder(words)
