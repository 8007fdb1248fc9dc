"""The numbers of one input tensor, out of JSON or out of bytes, with nothing trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from paring.engines.protocol import Array
from paring.errors import RequestError

DEEPEST = 32  # nested lists; a tensor has no more dimensions
NUMBERS = {int, float}


def from_json(name: str, data: Any, dtype: np.dtype[np.generic]) -> Array:
    """`data`, a list of numbers, flat or nested, as a flat array of `dtype`. Raises RequestError (400)."""
    if not isinstance(data, list):
        raise RequestError(400, f"input {name!r}: data is {_kind(data)}; it must be a list of numbers.")
    leaves: list[Array] = []
    _flatten(name, data, dtype, leaves, DEEPEST)
    return np.concatenate(leaves) if len(leaves) != 1 else leaves[0]


def from_bytes(name: str, data: memoryview, dtype: np.dtype[np.generic]) -> Array:
    """Little-endian numbers as an aligned flat array; any byte but 0 is true. Raises RequestError (400)."""
    if len(data) % dtype.itemsize:
        raise RequestError(
            400, f"input {name!r}: {len(data)} bytes are no whole number of {dtype.itemsize}-byte values."
        )
    if dtype == np.bool_:
        truth: Array = np.frombuffer(data, np.uint8) != 0
        return truth
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)  # a copy: views into a body are unaligned


def _flatten(name: str, data: list[Any], dtype: np.dtype[np.generic], leaves: list[Array], depth: int) -> None:
    kinds = set(map(type, data))
    if kinds == {list}:
        if depth == 0:
            raise RequestError(400, f"input {name!r}: data is nested deeper than {DEEPEST} lists.")
        for inner in data:
            _flatten(name, inner, dtype, leaves, depth - 1)
        return
    leaves.append(_numbers(name, data, kinds, dtype))


def _numbers(name: str, data: list[Any], kinds: set[type], dtype: np.dtype[np.generic]) -> Array:
    wanted = {bool} if dtype == np.bool_ else {int} if dtype.kind in "iu" else NUMBERS
    if not kinds <= wanted:
        samples = {type(value): value for value in data}
        odd = ", ".join(sorted(_kind(value) for kind, value in samples.items() if kind not in wanted))
        told = {"b": "true or false", "i": "whole numbers", "u": "whole numbers"}.get(dtype.kind, "numbers")
        raise RequestError(400, f"input {name!r}: data holds {odd}, and {dtype} takes {told}.")
    if dtype.kind in "iu" and data:
        bounds = np.iinfo(dtype.name)
        if min(data) < bounds.min or max(data) > bounds.max:
            raise RequestError(
                400, f"input {name!r}: data holds a number outside {dtype}: {bounds.min} to {bounds.max}."
            )
        return np.array(data, dtype)
    try:
        with np.errstate(over="ignore"):
            array = np.array(data, np.float64).astype(dtype) if dtype.kind == "f" else np.array(data, dtype)
    except OverflowError:
        array = np.array([np.inf], dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(400, f"input {name!r}: data holds a number too large for {dtype}.")
    return array


def _kind(value: Any) -> str:
    names = {dict: "an object", str: "a string", bool: "true or false", type(None): "null", list: "a list"}
    return names.get(type(value), "a fraction" if isinstance(value, float) else "a number")
