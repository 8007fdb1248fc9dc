"""The coded file, measured: `python benchmarks/size.py [ROW ...] [--list] [--render]`.

Each row makes one file, unpacks its container and takes the metric from the ONNX file that came out, in ONNX Runtime.
Rows already in benchmarks/results/size.json are kept; the page benchmarks/size.md is written from that file after each
row. Times are processor seconds; unpacking speed means something on a quiet machine only (`--time` measures it anew).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from kept import HOME, Kept
from onnx import TensorProto, helper, numpy_helper
from size_page import page
from size_tasks import lenet5, lenet300

from paring import Recipe, Target, Task, compress, pack, rebuild, unpack
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.container.size import file_size
from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.engines import machine, open_session
from paring.finetune import Finetune
from paring.measure.quality import file_outputs, quality
from paring.prune.magnitude import Magnitude
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.share.entropy_qat import EntropyQat
from paring.share.kmeans import Kmeans
from paring.share.rate_distortion import RateDistortion
from paring.share.spacing import Spacing

TABLE = Kept("size", page)
DISTILLED = Response(temperature=4.0)
LOUD = 1_024  # bytes above which a tensor is compared


def obs(sparsities: dict[str, float]) -> tuple[Pass, ...]:
    """Each layer at a sparsity of its own."""
    return tuple(Obs(sparsity=sparsity, include=(name,)) for name, sparsity in sparsities.items())


def recipes() -> dict[str, tuple[str, tuple[Pass, ...]]]:
    """Row name -> (net, passes)."""
    rows: dict[str, tuple[str, tuple[Pass, ...]]] = {"lenet-300-100": ("lenet300", ()), "lenet-5": ("lenet5", ())}
    for slope in (1e-9, 1.5e-9, 2e-9, 3e-9, 5e-9):
        rows[f"lenet-300-100 coded, no training, slope {slope:g}"] = ("lenet300", (RateDistortion(slope=slope),))
    for slope in (4e-10, 6e-10, 1e-9, 3e-9, 1e-8, 3e-8):
        rows[f"lenet-5 coded, no training, slope {slope:g}"] = ("lenet5", (RateDistortion(slope=slope),))
    rows["lenet-300-100 spacing, no training"] = ("lenet300", (Spacing(slope=1e-10),))
    rows["lenet-300-100 kmeans 32, no training"] = ("lenet300", (Kmeans(num_values=32),))
    for pressure, epochs in ((0.02, 8), (0.01, 8), (0.04, 8), (0.1, 10)):
        passes = (
            *obs({"fc1": 0.965, "fc2": 0.9, "fc3": 0.6}),
            EntropyQat(pressure=pressure, epochs=epochs, learning_rate=2e-3, objective=DISTILLED, bias_bits=5),
        )
        rows[f"lenet-300-100 trained, pressure {pressure:g}"] = ("lenet300", passes)
    for sparsity, pressure in ((0.97, 0.03),):
        passes = (
            *obs({"conv1": 0.3, "conv2": 0.88, "ip1": sparsity, "ip2": 0.8}),
            EntropyQat(pressure=pressure, step=1.0, epochs=4, learning_rate=1e-3, objective=DISTILLED, bias_bits=5),
        )
        rows[f"lenet-5 trained, pressure {pressure:g}"] = ("lenet5", passes)
    gradual = Magnitude(sparsity=0.92, schedule=Cubic(epochs=5, objective=DISTILLED))
    rows["lenet-300-100 deep compression"] = (
        "lenet300",
        (gradual, Finetune(epochs=2, objective=DISTILLED), Kmeans(num_values=32),
         Finetune(epochs=1, learning_rate=2e-4, objective=DISTILLED)),
    )  # fmt: skip
    return rows


def measure(net: str, passes: tuple[Pass, ...], seed: int) -> dict[str, Any]:
    """One row: the file that comes out of the container, against the baseline's file."""
    task: Task = {"lenet300": lenet300, "lenet5": lenet5}[net]()
    task = replace(task, seed=seed)
    began = time.process_time()
    candidate = compress(task, Recipe(passes))
    seconds = time.process_time() - began
    with TemporaryDirectory() as folder:
        base, model, coded, back = (Path(folder) / name for name in ("base.onnx", "m.onnx", "m.paring", "back.onnx"))
        write_onnx(task.model, task, base)
        write_onnx(rebuild(candidate, task), task, model)
        began = time.process_time()
        pack(model, coded)
        packing = time.process_time() - began
        began = time.process_time()
        unpack(coded, back)
        unpacking = time.process_time() - began
        assert back.read_bytes() == model.read_bytes()
        found = file_size(coded)
        row: dict[str, Any] = {
            "net": net,
            "seed": seed,
            "recipe": [str(step) for step in passes],
            "num_weights": sum(p.numel() for p in task.model.parameters()),
            "coded_bytes": found.coded_bytes,
            "onnx_bytes": found.onnx_bytes,
            "head_bytes": found.head_bytes,
            "tensors": [asdict(tensor) for tensor in found.tensors],
            "compress_cpu_s": seconds,
            "pack_cpu_s": packing,
            "unpack_cpu_s": unpacking,
        }
        for split, data in (("validation", task.validation), ("test", task.test)):
            assert data is not None
            before, targets = file_outputs(open_session(base, Target("onnxruntime")), data)
            after, _ = file_outputs(open_session(back, Target("onnxruntime")), data)
            seen = quality(task.metric, before, after, targets, split=split, seed=seed)
            row[split] = {"metric": seen.metric, "drop": seen.drop, "drop_interval": seen.drop_interval}
        row["ratio"] = 4 * row["num_weights"] / found.coded_bytes
        return row


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
            found = file_size(path)
            times = []
            for _ in range(3):
                began = time.process_time()
                unpack(coded, Path(folder) / "back.onnx")
                times.append(time.process_time() - began)
            rows.append({"name": name, **asdict(found.tensors[0]), "million_per_s": codes.size / min(times) / 1e6})
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="words that a row's name must hold, all of them")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--time", action="store_true", help="measure the coder's speed anew")
    parser.add_argument("--seeds", type=int, default=1, help="seeds for rows that train")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    jobs: dict[str, Callable[[], dict[str, Any]]] = {"coder": coder, "fuzz": fuzz}
    for name, (net, passes) in recipes().items():
        trains = any("train" in step.requirements() for step in passes)
        for seed in range(arguments.seeds if trains else 1):
            full = f"{name}, seed {seed}" if trains else name
            jobs[full] = lambda net=net, passes=passes, seed=seed: measure(net, passes, seed)
    done = TABLE.load()
    if arguments.time:
        done["rows"].pop("coder", None)
    for name, job in jobs.items():
        if arguments.render or name in done["rows"] or not all(word in name for word in arguments.rows):
            continue
        print(name, flush=True)
        if arguments.list:
            continue
        row = job()
        TABLE.add(row, "rows", name, machine=machine(), versions=versions())
        print(
            "   ",
            {key: row[key] for key in ("coded_bytes", "ratio", "test", "longest_cpu_s") if key in row},
            flush=True,
        )
    if arguments.render:
        TABLE.save(TABLE.load())


if __name__ == "__main__":
    main()
