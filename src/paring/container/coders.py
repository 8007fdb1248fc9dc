"""constriction's two entropy coders, their words as bytes: the range coder, and ANS, which decodes faster.

Both take the same calls in the same order. ANS takes back what was put in last first, so that its encoder keeps the
calls of a whole tensor and codes them from the end.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np


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
    """The coder's words without the zero bytes at their end."""
    data = encoder.get_compressed().astype("<u4").tobytes()
    while data.endswith(b"\0") and len(data) % 4 != 1:
        data = data[:-1]
    return bytes(data)


def unpacked(data: memoryview, *, ans: bool = False) -> Any:
    """A decoder over what `packed` gave."""
    padded = bytes(data) + b"\0" * (-len(data) % 4)
    words = np.frombuffer(padded, "<u4").astype(np.uint32)
    return constriction.stream.stack.AnsCoder(words) if ans else constriction.stream.queue.RangeDecoder(words)
