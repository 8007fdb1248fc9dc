"""One tensor of whole numbers as an entropy-coded stream, by whichever model makes it shortest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from paring.container.classes import find_classes
from paring.container.coders import encoder_of, packed, unpacked
from paring.container.counts import MAX_CLASSES, Classes, Ints, decode_counts, encode_counts
from paring.container.reading import Reader, number, product, signed
from paring.container.shapes import NUM_BYTES, Shape, fitted_shape, priors_of
from paring.container.sparse import LARGEST_SIZE, decode_sparse, encode_sparse, pays, suits
from paring.errors import CorruptFileError

CONSTANT, COUNTS, SPARSE, SHAPED, STACKED, DIGITS = range(6)
MODELS = ("constant", "counts", "neighbours", "counts from a shape", "counts", "digits")
MAX_SYMBOLS = 4096
LARGEST_LOW = 1 << 30  # in size, of the smallest number
MAX_SPARSE = 1 << 20  # entries: beyond, line-by-line decoding takes too long
MAX_CLASSED = 1 << 26
MAX_CLASSED_SYMBOLS = 256
SMALLEST_STACKED = 1 << 16  # entries: below, decoding faster is not worth what ANS ends with; from here on, where the
# counts start from no longer shows
SAMPLE, MOSTLY_FULL = 1 << 15, 0.5  # entries that are tried first where more than this part is not zero, or much else
# stands beside them
MAX_DIGITS = 1 << 9  # entries: few numbers teach no model, and long ones are slow to divide
CLASS_COUNTS = (4, 8, 14)
COLUMNS_FIRST = 1


@dataclass(frozen=True)
class Coded:
    """A stream, the model it was made with, and the code length of that model's parameters and the numbers, in bits."""

    data: bytes
    model: str
    bits: float


def encode(values: Ints, dims: Sequence[int], *, worth: float = 1.0) -> Coded | None:
    """The shortest stream of those tried for these whole numbers, flattened; None where they spread over more than
    4,096 values or lie beyond 30 bits.

    `worth` below 1 spares a large tensor the slow model where its first lines take more than that part of what the
    quick one makes of them.
    """
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if len(values):
        low, high = int(values.min()), int(values.max())
    if low == high:
        return Coded(bytes([CONSTANT]) + signed(low), MODELS[CONSTANT], 8.0 * len(signed(low)))
    if high - low + 1 > MAX_SYMBOLS or abs(low) > LARGEST_LOW:
        return None
    return min(_tried(values, dims, low, high, worth), key=lambda coded: len(coded.data))


def decode(data: memoryview, dims: Sequence[int]) -> Ints:
    """What `encode` coded, flattened. Raises CorruptFileError."""
    size, reader = product(dims), Reader(data)
    kind = reader.byte()
    try:
        if kind == CONSTANT:
            return np.full(size, reader.signed((1 << 31) - 1), np.int32)
        if kind in (COUNTS, SHAPED, STACKED):
            return _decode_counts(reader, dims, kind)
        if kind == SPARSE:
            return _decode_sparse(reader, dims)
        if kind == DIGITS:
            return _decode_digits(reader, size)
    except (AssertionError, ValueError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError("a stream in it does not decode") from error
    raise CorruptFileError(f"it holds a stream of kind {kind}, which this version does not know")


def matrix_of(dims: Sequence[int]) -> tuple[int, int]:
    """Rows and columns under which a tensor is seen: its first dimension, and the rest."""
    return (1, product(dims)) if len(dims) < 2 else (dims[0], product(dims[1:]))


def _tried(values: Ints, dims: Sequence[int], low: int, high: int, worth: float) -> Iterator[Coded]:
    rows, columns = matrix_of(dims)
    symbols, count = (values - low).astype(np.int32), high - low + 1
    zero = -low if low <= 0 <= high else None
    found: list[tuple[Classes | None, int]] = [(None, 0)]
    if rows > 1 and columns > 1 and len(values) <= MAX_CLASSED and count <= MAX_CLASSED_SYMBOLS:
        matrix = symbols.reshape(rows, columns)
        found += [(find_classes(matrix, zero or 0, count, most), most) for most in CLASS_COUNTS]
    if len(values) <= MAX_DIGITS:
        yield _with_digits(symbols, low, count)
    for classes, most in found:
        is_large = len(values) >= SMALLEST_STACKED
        yield _with_counts(symbols, low, count, zero, classes, most, STACKED if is_large else COUNTS)
        if zero is not None and not is_large and count <= MAX_CLASSED_SYMBOLS:
            yield _with_counts(symbols, low, count, zero, classes, most, SHAPED)
    if zero is not None and max(-low, high) <= LARGEST_SIZE and rows > 1 and len(values) <= MAX_SPARSE:
        matrix = values.reshape(rows, columns).astype(np.int64)
        orders = [order for order, shape in ((0, (rows, columns)), (COLUMNS_FIRST, (columns, rows))) if suits(*shape)]
        ways = [(stride, order) for stride in _strides(dims) for order in orders]
        if len(values) > SAMPLE and (worth < 1 or (values != 0).mean() > MOSTLY_FULL):
            ways = [way for way in ways if _is_promising(_lines(matrix, way[1]), way[0], worth)]
        for stride, order in ways:
            if (coded := _with_sparse(_lines(matrix, order), stride, order)) is not None:
                yield coded


def _lines(matrix: np.ndarray, order: int) -> np.ndarray:
    return np.ascontiguousarray(matrix.T) if order == COLUMNS_FIRST else matrix


def _is_promising(lines: np.ndarray, stride: int, worth: float) -> bool:
    """Whether neighbours make the first lines shorter than `worth` times what counts do, before seconds go into all."""
    some = lines[: max(1, SAMPLE // lines.shape[1])]
    low = int(some.min())
    symbols, count = (some - low).ravel().astype(np.int32), int(some.max()) - low + 1
    if count < 2:
        return True
    counted = _with_counts(symbols, low, count, None, None, 0, COUNTS)
    coded = _with_sparse(some, stride, 0)
    return coded is None or len(coded.data) < worth * len(counted.data)


def _strides(dims: Sequence[int]) -> list[int]:
    """Distances at which columns may belong together: kernel rows, kernels, the rows of a square image."""
    if len(dims) > 2:
        return sorted({dims[-1], product(dims[2:])})
    root = math.isqrt(dims[1])
    return [root] if root * root == dims[1] else [4, 16]


def _with_counts(
    symbols: Ints, low: int, count: int, zero: int | None, classes: Classes | None, most: int, kind: int
) -> Coded:
    encoder = encoder_of(ans=kind == STACKED)
    head, priors = signed(low) + number(count - 1) + bytes([most]), None
    bits = 8.0 * len(head)
    for line in () if classes is None else (classes.rows, classes.columns):
        bits += encode_counts(encoder, line, most, None, None)
    if kind == SHAPED:
        assert zero is not None
        shapes = _shapes(symbols, count, zero, classes)
        priors = priors_of(shapes, count, zero)
        sent = np.array(shapes, np.int32).ravel()
        bits += encode_counts(encoder, sent, 256, None, None)
    bits += encode_counts(encoder, symbols, count, zero, classes, priors)
    name = MODELS[kind] + (f", {most} classes" if most else "")
    return Coded(bytes([kind]) + head + packed(encoder), name, bits)


def _shapes(symbols: Ints, count: int, zero: int, classes: Classes | None) -> list[Shape]:
    if classes is None:
        return [fitted_shape(symbols, count, zero)]
    contexts = classes.contexts(0, len(symbols))
    return [fitted_shape(symbols[contexts == context], count, zero) for context in range(classes.count)]


def _decode_counts(reader: Reader, dims: Sequence[int], kind: int) -> Ints:
    shaped = kind == SHAPED
    low, count, most = reader.signed(LARGEST_LOW), reader.number(MAX_SYMBOLS - 1) + 1, reader.byte()
    zero = -low if low <= 0 <= low + count - 1 else None
    if count < 2 or most > MAX_CLASSES or most == 1 or (shaped and (zero is None or count > MAX_CLASSED_SYMBOLS)):
        raise CorruptFileError("a stream in it has impossible parameters")
    decoder, classes, priors = unpacked(reader.rest(), ans=kind == STACKED), None, None
    if most:
        lines = [decode_counts(decoder, length, most, None, None) for length in matrix_of(dims)]
        classes = Classes(*lines)
    if shaped:
        assert zero is not None
        contexts = 1 if classes is None else classes.count
        sent = decode_counts(decoder, contexts * NUM_BYTES, 256, None, None).reshape(-1, NUM_BYTES)
        priors = priors_of([(int(a), int(b), int(c)) for a, b, c in sent], count, zero)
    return decode_counts(decoder, product(dims), count, zero, classes, priors) + np.int32(low)


def _with_digits(symbols: Ints, low: int, count: int) -> Coded:
    """All numbers as the digits of one, in base `count`: each costs the same, and nothing is told beside them."""
    whole = 0
    for symbol in symbols.tolist():
        whole = whole * count + symbol
    head = signed(low) + number(count - 1)
    bits = 8 * len(head) + len(symbols) * math.log2(count)
    data = whole.to_bytes(_digit_bytes(len(symbols), count), "little")
    return Coded(bytes([DIGITS]) + head + data, MODELS[DIGITS], bits)


def _decode_digits(reader: Reader, size: int) -> Ints:
    low, count = reader.signed(LARGEST_LOW), reader.number(MAX_SYMBOLS - 1) + 1
    if count < 2 or size > MAX_DIGITS:
        raise CorruptFileError("a stream in it has impossible parameters")
    whole = int.from_bytes(reader.take(_digit_bytes(size, count)), "little")
    found = []
    for _ in range(size):
        whole, digit = divmod(whole, count)
        found.append(digit)
    if whole or len(reader.rest()):
        raise CorruptFileError("a stream in it does not decode")
    return np.array(found[::-1], np.int32) + np.int32(low)


def _digit_bytes(size: int, count: int) -> int:
    """The bytes that hold every number of `size` digits in base `count`."""
    return (int(count**size - 1).bit_length() + 7) // 8


def _with_sparse(values: np.ndarray, stride: int, order: int) -> Coded | None:
    encoder = encoder_of(ans=False)
    head, bits = encode_sparse(encoder, values, stride)
    body = packed(encoder)
    if not pays(int((values != 0).any(1).sum()), len(body)):
        return None
    return Coded(bytes([SPARSE, order]) + head + body, MODELS[SPARSE], 8 + bits)


def _decode_sparse(reader: Reader, dims: Sequence[int]) -> Ints:
    rows, columns = matrix_of(dims)
    if rows * columns > MAX_SPARSE:
        raise CorruptFileError("a stream in it has impossible parameters")
    order = reader.byte()
    if order == COLUMNS_FIRST:
        rows, columns = columns, rows
    if not suits(rows, columns):
        raise CorruptFileError("a stream in it has impossible parameters")
    values = decode_sparse(unpacked, reader, rows, columns)
    return (values.T if order == COLUMNS_FIRST else values).ravel().astype(np.int32)
