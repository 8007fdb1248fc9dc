"""The coded file, measured: `python benchmarks/size.py [WORD ...] [--seeds N] [--clock | --nncodec | --repack]`.

Each row makes one file, unpacks its container and takes the metric from the ONNX file that came out, in ONNX Runtime.
Rows already in benchmarks/results/size.json are kept; the page benchmarks/size.md is written from that file after each
row. Times of making are processor seconds. On a quiet machine only: `--clock` times the files of the large nets in both
engines, and the row `coder` says how fast containers unpack. `--nncodec` needs benchmarks/size_peer/install.sh.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from kept import HOME, Kept, machine
from onnx import numpy_helper
from size_clock import clocked
from size_coder import coder, fuzz, nncodec
from size_page import large, page
from size_rows import Row, rows
from size_tasks import calibrated, in_batches, net, taught

from paring import Recipe, Target, compress, pack, rebuild, unpack
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.container.file import VERSION
from paring.container.size import file_size
from paring.engines import open_session
from paring.measure.quality import file_outputs, quality

TABLE = Kept("size", page, ("rows", "times", "nncodec"))
OUT = HOME.parent / "out" / "benchmarks" / "size"


def measure(name: str, row: Row, seed: int) -> dict[str, Any]:
    """One row: the file that comes out of the container, against the net's own file."""
    own = replace(net(row.net) if row.images is None else calibrated(row.net, row.images), seed=seed)
    own = own if row.batch is None else in_batches(own, row.batch)
    task = replace(taught(row.net), seed=seed) if row.taught else own
    task = replace(task, teachers={name: net(name).model for name in row.teachers})
    began = time.process_time()
    candidate = compress(task, Recipe(row.passes))
    seconds = time.process_time() - began
    OUT.mkdir(parents=True, exist_ok=True)
    base, model = OUT / f"{row.net}.onnx", OUT / f"{name.replace(' ', '-')}.onnx"
    if not base.is_file():
        write_onnx(own.model, own, base)
    write_onnx(rebuild(candidate, task), task, model)
    with TemporaryDirectory() as folder:
        back = Path(folder) / "back.onnx"
        found = _packed(model, back)
        zeros, count = _zeros(back)
        num_weights = sum(p.numel() for p in own.model.parameters())
        made: dict[str, Any] = {
            "net": row.net,
            "taught": row.taught,
            "seed": seed,
            "file": model.name,
            "recipe": [str(step) for step in row.passes],
            "num_weights": num_weights,
            "num_left": count,
            "zeros": zeros / count,
            "compress_cpu_s": seconds,
            **found,
            "ratio": 4 * num_weights / found["coded_bytes"],
        }
        for split, data in (("validation", own.validation), ("test", own.test)):
            assert data is not None
            before, targets = file_outputs(open_session(base, Target("onnxruntime")), data)
            after, _ = file_outputs(open_session(back, Target("onnxruntime")), data)
            seen = quality(own.metric, before, after, targets, split=split, seed=seed)
            made[split] = {"metric": seen.metric, "drop": seen.drop, "drop_interval": seen.drop_interval}
    return made


def _packed(model: Path, back: Path) -> dict[str, Any]:
    """Packs the file beside itself and unpacks it to `back`: what that took, and the bytes of its tensors."""
    coded = model.with_suffix(".paring")
    began = time.process_time()
    pack(model, coded)
    packing = time.process_time() - began
    began = time.process_time()
    unpack(coded, back)
    unpacking = time.process_time() - began
    assert back.read_bytes() == model.read_bytes()
    found = file_size(coded)
    return {
        "container": VERSION,
        "coded_bytes": found.coded_bytes,
        "onnx_bytes": found.onnx_bytes,
        "head_bytes": found.head_bytes,
        "tensors": [asdict(tensor) for tensor in found.tensors],
        "pack_cpu_s": packing,
        "unpack_cpu_s": unpacking,
    }


def _repacked(row: dict[str, Any]) -> dict[str, Any]:
    """The row again, its file coded by the coder of today; the metric is that of the file, which stays."""
    with TemporaryDirectory() as folder:
        found = _packed(OUT / row["file"], Path(folder) / "back.onnx")
    return {**row, **found, "ratio": 4 * row["num_weights"] / found["coded_bytes"]}


def _zeros(path: Path) -> tuple[int, int]:
    """How many numbers of a file's tensors of two dimensions and more are zero, and how many there are."""
    arrays = [numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer if len(one.dims) > 1]
    return sum(int((array == 0).sum()) for array in arrays), sum(array.size for array in arrays)


def _nncodec(row: dict[str, Any]) -> dict[str, Any]:
    names = [one["name"] for one in row["tensors"] if large(one)]
    return {"bytes": nncodec(OUT / row["file"], names)}


def main() -> None:
    """Makes what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="words that a row's name must hold, all of them")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--clock", action="store_true", help="time the files there are, on a quiet machine")
    parser.add_argument("--nncodec", action="store_true", help="what NNCodec makes of the files there are")
    parser.add_argument("--repack", action="store_true", help="code the files there are anew")
    parser.add_argument("--again", action="store_true", help="make the rows that there are already, too")
    parser.add_argument("--seeds", type=int, default=1, help="seeds for rows that train")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    done = TABLE.load()
    if asked.render:
        TABLE.save(done)
        return
    jobs: dict[str, Callable[[], dict[str, Any]]] = {"coder": coder, "fuzz": fuzz}
    for name, row in rows().items():
        for seed in range(asked.seeds if row.trains else 1):
            full = f"{name}, seed {seed}" if row.trains else name
            jobs[full] = partial(measure, full, row, seed)
    if asked.clock:
        jobs = clocked(done["rows"], OUT)
    if asked.nncodec:
        jobs = {name: partial(_nncodec, row) for name, row in done["rows"].items() if "file" in row}
    if asked.repack:
        there = {name: row for name, row in done["rows"].items() if "file" in row and (OUT / row["file"]).is_file()}
        jobs = {name: partial(_repacked, row) for name, row in there.items()}
    part = "times" if asked.clock else "nncodec" if asked.nncodec else "rows"
    for name, job in jobs.items():
        is_there = name in done.get(part, {}) and not asked.again and not asked.repack
        if is_there or not all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", name) for word in asked.words):
            continue
        print(time.strftime("%H:%M:%S"), name, flush=True)
        if asked.list:
            continue
        made = job()
        TABLE.add(made, part, name, machine=machine(), versions=versions())
        print("   ", {key: made[key] for key in SAID if key in made}, flush=True)


SAID = ("coded_bytes", "ratio", "zeros", "validation", "test", "longest_cpu_s")

if __name__ == "__main__":
    main()
