"""What a file takes, tensor by tensor, in several forms, and what theory says of it."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import zstandard

from paring.container.file import PackedFile, is_container, mapped, pack, unpack
from paring.container.forms import INT4, UINT4, itemsize, numbers_of
from paring.container.reading import product
from paring.container.wire import Hole, holes


@dataclass(frozen=True)
class TensorSize:
    """One tensor. Bytes: as fp32, in the ONNX file, in the container, and as gzip and zstd -19 make the stored bytes.

    `entropy_bits` is the zero-order entropy times the count; `model_bits` the code length under the container's own
    model; `floor_bits` the Shannon bound for a Gaussian source of the tensor's variance at the distortion of its grid,
    None where it is on none.
    """

    name: str
    dims: tuple[int, ...]
    how: str
    fp32_bytes: int
    stored_bytes: int
    coded_bytes: int
    gzip_bytes: int
    zstd_bytes: int
    entropy_bits: float
    model_bits: float
    floor_bits: float | None

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return product(self.dims)


@dataclass(frozen=True)
class FileSize:
    """Whole files in bytes, and their tensors."""

    onnx_bytes: int
    coded_bytes: int
    head_bytes: int
    tensors: tuple[TensorSize, ...]

    @property
    def fp32_bytes(self) -> int:
        """What all the numbers take as fp32."""
        return sum(tensor.fp32_bytes for tensor in self.tensors)


def file_size(path: str | Path) -> FileSize:
    """Sizes of the ONNX file or container at `path`. Raises CorruptFileError, ExportError."""
    path = Path(path)
    with TemporaryDirectory() as folder:
        model, container = Path(folder) / "model.onnx", Path(folder) / "model.paring"
        if is_container(path):
            unpack(path, model)
            path = model
        packed = pack(path, container)
        return FileSize(packed.file_bytes, packed.coded_bytes, packed.head_bytes, tuple(_tensors(path, packed)))


def _tensors(path: Path, packed: PackedFile) -> Iterator[TensorSize]:
    with mapped(path) as data:
        for hole, entry in zip(holes(data, cut=False), packed.tensors, strict=True):
            payload = data[hole.at : hole.at + hole.size].tobytes()
            yield TensorSize(
                name=entry.name,
                dims=entry.dims,
                how=entry.how,
                fp32_bytes=4 * product(entry.dims),
                stored_bytes=entry.stored_bytes,
                coded_bytes=entry.coded_bytes,
                gzip_bytes=len(gzip.compress(payload, 9)),
                zstd_bytes=len(zstandard.ZstdCompressor(level=19).compress(payload)),
                entropy_bits=entropy_bits(payload, hole),
                model_bits=entry.bits,
                floor_bits=floor_bits(payload, hole),
            )


def entropy_bits(payload: bytes, hole: Hole) -> float:
    """Zero-order entropy of the stored numbers, times their count."""
    numbers = _numbers(payload, hole)
    counts = np.unique(numbers, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def floor_bits(payload: bytes, hole: Hole) -> float | None:
    """`n/2 log2(variance / distortion)`, at least 0, in units of the grid: distortion 1/12 a number.

    A uniform grid of step 1 makes an error of 1/12 at high rate and less below; where half of the numbers are zeros
    the distortion made is no longer known from the integers alone, and this bound with it: None.
    """
    numbers = numbers_of(payload, hole.dims, hole.data_type)
    if numbers is None or not numbers.size or (numbers == 0).mean() > 0.5:
        return None
    return max(0.0, numbers.size / 2 * math.log2(max(float(numbers.var()), 1e-12) * 12))


def _numbers(payload: bytes, hole: Hole) -> np.ndarray:
    if hole.data_type in (UINT4, INT4):
        numbers = numbers_of(payload, hole.dims, hole.data_type)
        assert numbers is not None
        return numbers
    width = itemsize(hole.data_type)
    return np.frombuffer(payload, f"<u{width}" if len(payload) % width == 0 else "u1")
