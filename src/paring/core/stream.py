"""Streams of what is being done that end in a result: run to the end, or passed on in other words."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


def drain(steps: Generator[Any, None, T]) -> T:
    """What `steps` returns at its end; what it yields on the way is dropped."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def told(steps: Generator[A, None, T], words: Callable[[A], B]) -> Generator[B, None, T]:
    """The same stream with each item in other `words`, and the same result."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield words(step)
