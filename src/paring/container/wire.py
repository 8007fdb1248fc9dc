"""An ONNX file as a skeleton with holes where the weights were, and the weights: plain protobuf, no library.

The skeleton keeps every byte outside `raw_data` of the graph's initializers, so that filling the holes gives the very
file back. Field numbers are those of onnx.proto3: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.dims 1,
data_type 2, name 8, raw_data 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from paring.container.reading import LARGEST, Reader
from paring.errors import CorruptFileError

SMALLEST_HOLE = 16  # shorter weights stay in the skeleton
GRAPH, INITIALIZER, DIMS, DATA_TYPE, NAME, RAW_DATA = 7, 5, 1, 2, 8, 9
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_RANK, MAX_NAME = 16, 1 << 16


@dataclass
class Hole:
    """One initializer's payload: `at` is where it begins (in the file) or belongs (in the skeleton)."""

    at: int
    size: int
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    name: str = ""


@dataclass(frozen=True)
class Field:
    """One field of a message: `body` are its bytes' bounds in the data, `size` its length as written."""

    tag: int
    kind: int
    value: int
    at: int


def holes(data: bytes | memoryview, *, cut: bool, most: int = LARGEST) -> list[Hole]:
    """Every payload of at least SMALLEST_HOLE bytes in a file, or with `cut` every hole in a skeleton, in order.

    Raises: CorruptFileError for bytes that are no ONNX model, and where there are more than `most`.
    """
    walker = _Walker(data, cut)
    for outer in walker.fields(walker.end):
        if outer.tag == GRAPH and outer.kind == BYTES:
            graph_end = walker.inside(outer.value, walker.end)
            for inner in walker.fields(graph_end):
                if inner.tag == INITIALIZER and inner.kind == BYTES:
                    walker.tensor(walker.inside(inner.value, graph_end))
                    if len(walker.found) > most:
                        raise CorruptFileError("its graph has more weights than there is room for")
                else:
                    walker.skip(inner, graph_end)
        else:
            walker.skip(outer, walker.end)
    return walker.found


class _Walker:
    """Walks messages; positions count the bytes that were cut out, so that lengths written in the file still hold."""

    def __init__(self, data: bytes | memoryview, cut: bool) -> None:
        self.reader, self.cut, self.gone = Reader(data), cut, 0
        self.found: list[Hole] = []
        self.end: int | None = None  # of the whole file: known once all holes are

    @property
    def place(self) -> int:
        return self.reader.at + self.gone

    def fields(self, end: int | None) -> Iterator[Field]:
        while (self.reader.at < len(self.reader.data)) if end is None else (self.place < end):
            key = self.reader.number(2**32)
            tag, kind = key >> 3, key & 7
            if tag == 0 or kind not in (VARINT, FIXED64, BYTES, FIXED32):
                raise CorruptFileError("it is no ONNX model: an unknown field in its protobuf")
            value = self.reader.number(LARGEST if kind == BYTES else 2**64) if kind in (VARINT, BYTES) else 0
            yield Field(tag, kind, value, self.reader.at)
        if end is not None and self.place != end:
            raise CorruptFileError("it is no ONNX model: a message runs beyond the one around it")

    def inside(self, size: int, limit: int | None) -> int:
        end = self.place + size
        if limit is not None and end > limit:
            raise CorruptFileError("it is no ONNX model: a message runs beyond the one around it")
        return end

    def skip(self, entry: Field, limit: int | None) -> memoryview:
        size = {VARINT: 0, FIXED64: 8, FIXED32: 4}.get(entry.kind, entry.value)
        self.inside(size, limit)
        return self.reader.take(size)

    def tensor(self, end: int) -> None:
        hole = None
        dims: list[int] = []
        data_type, name = 0, ""
        for entry in self.fields(end):
            if entry.tag == RAW_DATA and entry.kind == BYTES and entry.value >= SMALLEST_HOLE and hole is None:
                self.inside(entry.value, end)
                hole = Hole(self.reader.at, entry.value)
                if self.cut:
                    self.gone += entry.value
                else:
                    self.reader.take(entry.value)
                continue
            body = self.skip(entry, end)
            if entry.tag == DIMS:
                dims += [entry.value] if entry.kind == VARINT else _packed(body)
            elif entry.tag == DATA_TYPE and entry.kind == VARINT:
                data_type = entry.value
            elif entry.tag == NAME and len(body) <= MAX_NAME:
                name = bytes(body).decode("utf-8", "replace")
            if len(dims) > MAX_RANK:
                raise CorruptFileError("it is no ONNX model: a weight of more than 16 dimensions")
        if hole is not None:
            hole.dims, hole.data_type, hole.name = dims, data_type, name
            self.found.append(hole)


def _packed(body: memoryview) -> list[int]:
    reader = Reader(body)
    values: list[int] = []
    while reader.at < len(body) and len(values) <= MAX_RANK:
        values.append(reader.number(2**64))
    return values
