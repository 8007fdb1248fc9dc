"""The coder by itself: large drawn tensors, damaged containers, and the standard's coder on the same integers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from kept import HOME, PEERS
from onnx import TensorProto, helper, numpy_helper

from paring import pack, unpack
from paring.container.size import file_size


def coder() -> dict[str, Any]:
    """Large synthetic tensors of the shapes of a VGG and an encoder: code length, zstd, gzip, speed."""
    rng = np.random.default_rng(0)
    rows = []
    for name, shape, spread, scale in (
        ("sparse 2 %, 4096 x 1024", (4096, 1024), 1.2, 0.25),
        ("2 bits, 3072 x 768", (3072, 768), 0.4, 0.8),
        ("4 bits, 3072 x 768", (3072, 768), 0.4, 3.0),
        ("7 bits, 3072 x 768", (3072, 768), 0.4, 20.0),
        ("convolution, 512 x 512 x 3 x 3", (512, 512, 3, 3), 0.7, 0.5),
    ):
        rest = int(np.prod(shape[1:]))
        size = np.exp(rng.normal(size=(shape[0], 1)) * spread) * np.exp(rng.normal(size=(1, rest)) * spread)
        codes = np.rint(rng.normal(size=(shape[0], rest)) * size * scale).clip(-127, 127).astype(np.int8).reshape(shape)
        with TemporaryDirectory() as folder:
            path, coded = Path(folder) / "m.onnx", Path(folder) / "m.paring"
            write_codes(path, codes)
            pack(path, coded)
            found = file_size(coded)
            times = []
            for _ in range(3):
                began = time.process_time()
                unpack(coded, Path(folder) / "back.onnx")
                times.append(time.process_time() - began)
            rows.append({**asdict(found.tensors[0]), "name": name, "million_per_s": codes.size / min(times) / 1e6})
    return {"rows": rows}


def write_codes(path: Path, codes: np.ndarray) -> None:
    """A file of one initializer."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", value[:1], value[1:], [numpy_helper.from_array(codes, "codes")])
    onnx.save_model(helper.make_model(graph), path)


def fuzz() -> dict[str, Any]:
    """10,000 damaged containers, by cutting, flipping, splicing, overwriting, and with checksums made right again."""
    import resource

    sys.path.insert(0, str(HOME.parent))
    from tests.container.files import hostile, weights, write_model

    from paring.errors import CorruptFileError

    with TemporaryDirectory() as folder:
        model, coded, bad, out = (Path(folder) / name for name in ("m.onnx", "m.paring", "bad.paring", "out.onnx"))
        write_model(model, weights())
        pack(model, coded)
        original, refused, longest = model.read_bytes(), 0, 0.0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for data in hostile(coded.read_bytes(), np.random.default_rng(2026), 10_000):
            bad.write_bytes(data)
            began = time.process_time()
            try:
                unpack(bad, out)
                assert out.read_bytes() == original
                out.unlink()
            except CorruptFileError:
                refused += 1
                assert not out.exists()
            longest = max(longest, time.process_time() - began)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"inputs": 10_000, "refused": refused, "harmless": 10_000 - refused, "longest_cpu_s": longest,
            "memory_growth_kb": after - before}  # fmt: skip


def nncodec(path: Path, names: list[str]) -> dict[str, int]:
    """Bytes that NNCodec takes for these tensors of an ONNX file. Raises OSError without its environment."""
    python = PEERS / "nncodec" / "bin" / "python"
    wanted = [one for one in onnx.load(path).graph.initializer if one.name in names]
    with TemporaryDirectory() as folder:
        arrays = Path(folder) / "integers.npz"
        np.savez(arrays, **{one.name: numpy_helper.to_array(one) for one in wanted})
        call = [str(python), str(HOME / "size_peer" / "nncodec_peer.py"), str(arrays)]
        told = subprocess.run(call, capture_output=True, text=True, check=True)
    return {name: one["bytes"] for name, one in json.loads(told.stdout).items()}
