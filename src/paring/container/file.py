"""`pack` and `unpack`: an ONNX file to a `.paring` container and back, bit for bit, tensor by tensor.

magic "PARING" and version 2
section: head, JSON and the skeleton of the ONNX file        (a section is length, checksum, bytes)
section: one tensor, for each hole of the skeleton in its order
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paring.container.forms import Packed, pack_payload, unpack_payload
from paring.container.reading import LARGEST, Reader, section
from paring.container.wire import Hole, holes
from paring.container.zipped import unzipped_head, zipped_head
from paring.core.atomic import whole_file
from paring.engines import usable_cores
from paring.errors import CorruptFileError, ExportError

MAGIC, VERSION = b"PARING", 2
DIGEST_BYTES = 8
MAX_HEAD, MAX_FACTS = 1 << 28, 1 << 12
PLAIN_HEAD, ZIPPED_HEAD = 0, 1
FREE_BYTES, MAX_EXPANSION = 1 << 24, 1 << 12  # a container of n bytes unpacks to at most 16 MiB + 4096 n
FREE_HEAD, MAX_HEAD_EXPANSION = 1 << 18, 32
SMALLEST_SECTION = 4  # bytes: length, checksum and one more
PIECE = 1 << 20
MAX_WORKERS = 4


@dataclass(frozen=True)
class PackedTensor:
    """One tensor: its name and shape, its bytes in the ONNX file and here, and its code length under its own model."""

    name: str
    dims: tuple[int, ...]
    data_type: int
    stored_bytes: int
    coded_bytes: int
    how: str
    bits: float


@dataclass(frozen=True)
class PackedFile:
    """What `pack` wrote: whole files, and tensor by tensor."""

    file_bytes: int
    coded_bytes: int
    head_bytes: int
    tensors: tuple[PackedTensor, ...]


def pack(source: str | Path, target: str | Path) -> PackedFile:
    """Writes the ONNX file at `source` as a container at `target`, whole or not at all, several tensors at a time.

    Raises: CorruptFileError if `source` is no ONNX file; ExportError if it cannot be read or written, or keeps its
        weights in another file.
    """
    source, target = Path(source), Path(target)
    with mapped(source) as data, _located(source, "Export it again."):
        found = holes(data, cut=False)
        head = _head(data, found)
        with whole_file(target) as file:
            file.write(MAGIC + bytes([VERSION]))
            file.write(section(head))
            tensors = []
            for hole, packed in zip(found, _packed(data, found), strict=True):
                body = section(packed.data)
                file.write(body)
                tensors.append(_entry(hole, packed, len(body)))
            total = file.tell()
            if len(data) > FREE_BYTES + MAX_EXPANSION * total:
                raise ExportError(
                    f"{target}: {len(data)} bytes would become {total}, and a container may unpack to at most "
                    f"{MAX_EXPANSION} times its size. Such weights hold nothing: take the layers out."
                )
        return PackedFile(len(data), total, len(MAGIC) + 1 + len(section(head)), tuple(tensors))


def _packed(data: memoryview, found: list[Hole]) -> Iterator[Packed]:
    """Each tensor's payload packed, in their order, on as many cores as there are up to `MAX_WORKERS`."""
    with ThreadPoolExecutor(min(MAX_WORKERS, len(usable_cores()))) as pool:
        yield from pool.map(
            lambda hole: pack_payload(data[hole.at : hole.at + hole.size], hole.dims, hole.data_type), found
        )


def unpack(source: str | Path, target: str | Path) -> int:
    """Writes the ONNX file that the container at `source` holds to `target`; returns its length.

    Memory is that of one tensor. Raises: CorruptFileError for whatever is no sound container, and nothing is written;
        ExportError if `target` cannot be written.
    """
    source, target = Path(source), Path(target)
    with mapped(source) as data, _located(source, "Copy or pack it again."), whole_file(target) as file:
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        written = 0
        expected, pieces = _pieces(data)
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
            written += len(piece)
        if digest.hexdigest() != expected:
            raise CorruptFileError("what it unpacks to is not what was packed")
        return written


def is_current(path: str | Path) -> bool:
    """Whether the container at `path`, if there is any, is of the version that this Paring reads."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC) + 1) == MAGIC + bytes([VERSION])
    except FileNotFoundError:
        return True


def is_container(path: str | Path) -> bool:
    """Whether the file at `path` begins as a container does."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _head(data: memoryview, found: list[Hole]) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for start in range(0, len(data), PIECE):
        digest.update(data[start : start + PIECE])
    facts = {"bytes": len(data), "digest": digest.hexdigest()}
    skeleton, at = bytearray(), 0
    for hole in found:
        skeleton += data[at : hole.at]
        at = hole.at + hole.size
    skeleton += data[at:]
    if len(skeleton) >= MAX_HEAD:
        raise ExportError("its graph without weights is above 256 MB")
    head = json.dumps(facts).encode() + b"\n" + skeleton
    zipped = zipped_head(head)
    if len(zipped) < len(head) <= _largest_zipped(zipped):
        return bytes([ZIPPED_HEAD]) + zipped
    return bytes([PLAIN_HEAD]) + head


def _pieces(data: memoryview) -> tuple[str, Iterator[memoryview | bytes]]:
    """(digest, the unpacked file piece by piece)."""
    reader = Reader(data)
    if bytes(reader.take(len(MAGIC))) != MAGIC:
        raise CorruptFileError("it does not begin as a .paring file does")
    if (version := reader.byte()) != VERSION:
        raise CorruptFileError(f"it is of version {version}, and this Paring reads version {VERSION}")
    facts, skeleton = _unheaded(reader.section())
    found = holes(skeleton, cut=True, most=len(data) // SMALLEST_SECTION)
    total = len(skeleton) + sum(hole.size for hole in found)
    if total != facts["bytes"] or total > min(LARGEST, FREE_BYTES + MAX_EXPANSION * len(data)):
        raise CorruptFileError(f"it promises {facts['bytes']} bytes and has room for {total}")

    def pieces() -> Iterator[memoryview | bytes]:
        at = 0
        for hole in found:
            yield skeleton[at : hole.at]
            at = hole.at
            yield unpack_payload(reader.section(), hole.size, hole.dims, hole.data_type)
        yield skeleton[at:]
        if reader.at != len(data):
            raise CorruptFileError(f"{len(data) - reader.at} bytes follow its end")

    return facts["digest"], pieces()


def _unheaded(body: memoryview) -> tuple[dict[str, Any], memoryview]:
    if not len(body) or body[0] not in (PLAIN_HEAD, ZIPPED_HEAD):
        raise CorruptFileError("its head is not what it should be")
    rest = body[1:]
    head = unzipped_head(rest, _largest_zipped(rest)) if body[0] == ZIPPED_HEAD else bytes(rest)
    line, newline, _ = head[:MAX_FACTS].partition(b"\n")
    try:
        facts = json.loads(line) if newline else None
    except (ValueError, RecursionError):
        facts = None
    if not (isinstance(facts, dict) and type(facts.get("bytes")) is int and isinstance(facts.get("digest"), str)):
        raise CorruptFileError("its head is not what it should be")
    return facts, memoryview(head)[len(line) + 1 :]


def _largest_zipped(body: bytes | memoryview) -> int:
    """The longest head that a zstd frame of this length may hold: it could promise far more than it costs to read."""
    return min(MAX_HEAD, FREE_HEAD + MAX_HEAD_EXPANSION * len(body))


def _entry(hole: Hole, packed: Packed, size: int) -> PackedTensor:
    return PackedTensor(hole.name, tuple(hole.dims), hole.data_type, hole.size, size, packed.how, packed.bits)


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, read as they are needed. Raises CorruptFileError for an empty one, ExportError."""
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise CorruptFileError(f"{path}: the file is empty.")
            # Closed when nothing refers to it any more: an error on its way out still may.
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise ExportError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    yield view


@contextmanager
def _located(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except CorruptFileError as error:
        message = str(error)
        raise CorruptFileError(message if message.startswith(str(path)) else f"{path}: {message}. {remedy}") from error
