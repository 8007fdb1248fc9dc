"""Small ONNX files to pack: weights of every type, dense and sparse, and what a hostile sender makes of a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from paring.container.file import MAGIC, VERSION
from paring.container.reading import Reader, section


def sparse_codes(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Mostly zeros, rows and columns of different density, a few empty."""
    density = np.outer(rng.random(rows) ** 2, rng.random(columns) ** 2) * 0.4
    density[rng.integers(0, rows, 2)] = 0
    return ((rng.random((rows, columns)) < density) * rng.choice([-3, -1, -1, 1, 1, 2], (rows, columns))).astype(
        np.int8
    )


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """One tensor for every way in which a container can hold one."""
    rng = np.random.default_rng(seed)
    sparse = sparse_codes(rng, 30, 49)
    floats = rng.normal(size=(24, 16)).astype(np.float32)
    return {
        "sparse": sparse,
        "kernels": sparse_codes(rng, 12, 72).reshape(12, 8, 3, 3),
        "dense": np.rint(rng.normal(size=(40, 60)) * np.exp(rng.normal(size=(40, 1))) * 4)
        .clip(-127, 127)
        .astype(np.int8),
        "bytes": rng.integers(0, 255, (9, 11)).astype(np.uint8),
        "shared": rng.normal(size=7).astype(np.float32)[rng.integers(0, 7, (20, 30))],
        "pruned": rng.normal(size=(60, 50)).astype(np.float32) * (rng.random((60, 50)) < 0.2),
        "floats": floats.ravel(),
        "halves": floats.astype(np.float16),
        "doubles": floats.astype(np.float64)[:4],
        "ones": np.ones((5, 8), np.float32),
        "longs": np.arange(12, dtype=np.int64) * 10**12,
        "ints": rng.integers(-(10**6), 10**6, 33).astype(np.int32),
        "flags": rng.random((6, 7)) < 0.3,
        "short": np.array([1.5], np.float32),
        "vector": np.arange(64, dtype=np.int16) // 9,
        "negative zero": np.array([0.0, -0.0, 1.0, -1.0] * 8, np.float32).reshape(8, 4),
        "nan": np.array([0.0, np.nan, 1.0, -np.inf] * 8, np.float32).reshape(8, 4),
    }


def write_model(path: Path, arrays: dict[str, np.ndarray], *, int4: bool = True) -> Path:
    """A graph of one Identity whose initializers are `arrays` (no engine need run it)."""
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    if int4:
        nibbles = np.random.default_rng(9).choice([0, 0, 0, 1, 16, 240], 363).astype(np.uint8).tobytes()
        tensors.append(helper.make_tensor("nibbles", TensorProto.INT4, [25, 29], nibbles, raw=True))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out], tensors)
    onnx.save_model(helper.make_model(graph), path)
    return path


def hostile(container: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """`count` damaged containers: cut, flipped, overwritten, spliced, and with checksums made right again."""
    for number in range(count):
        yield _DAMAGES[number % len(_DAMAGES)](container, rng)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, len(data)))
    return data[:place] + bytes([data[place] ^ (1 << int(rng.integers(0, 8)))]) + data[place + 1 :]


def _grow(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 9)))


def _splice(data: bytes, rng: np.random.Generator) -> bytes:
    first, second = sorted(int(place) for place in rng.integers(0, len(data), 2))
    return data[:first] + data[second:]


def _noise(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: len(MAGIC) + 1] + rng.bytes(int(rng.integers(0, 200)))


def _resealed(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage inside the sections, which then match their checksums."""
    reader = Reader(data)
    reader.take(len(MAGIC) + 1)
    bodies = []
    while reader.at < len(data):
        bodies.append(bytearray(reader.section()))
    body = bodies[int(rng.integers(0, len(bodies)))]
    for _ in range(int(rng.integers(1, 4))):
        if body:
            body[int(min(rng.integers(0, len(body)), rng.integers(0, 40)) % len(body))] = int(rng.integers(0, 256))
    if rng.random() < 0.3:
        del body[int(rng.integers(0, len(body))) :]
    if rng.random() < 0.1:
        rng.shuffle(bodies)  # type: ignore[arg-type]
    return MAGIC + bytes([VERSION]) + b"".join(section(bytes(body)) for body in bodies)


_DAMAGES = (_cut, _flip, _resealed, _splice, _resealed, _noise, _resealed, _grow)
