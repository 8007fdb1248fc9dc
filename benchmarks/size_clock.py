"""The clock beside the size: files of the convolutional nets against their fp32 file, batch 1, one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paring import Target
from paring.engines import open_session
from paring.measure.latency import Runner, compare, judge, noise_floor
from paring.measure.lives import interleave_anew

ENGINES = ("onnxruntime", "openvino")
TIMED = ("resnet20", "alexnet", "vgg16")
BASE, AGAIN = "fp32 file", "again"
BLOCKS, BLOCK_MS = 40, 5.0


def clocked(done: Mapping[str, Any], out: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Row name -> what times it: one a net and engine."""
    nets = {row["net"] for row in done.values() if "net" in row} & set(TIMED)
    return {f"{net}: {engine}": partial(_clocked, net, engine, done, out) for net in sorted(nets) for engine in ENGINES}


def _clocked(net: str, engine: str, done: Mapping[str, Any], out: Path) -> dict[str, Any]:
    files = {name: out / row["file"] for name, row in done.items() if row.get("net") == net and "file" in row}
    files = {name: path for name, path in files.items() if path.is_file()}
    openers = {name: partial(_opened, path, engine) for name, path in files.items()}
    openers |= {
        BASE: partial(_opened, out / f"{net}.onnx", engine),
        AGAIN: partial(_opened, out / f"{net}.onnx", engine),
    }
    samples = interleave_anew(openers, blocks=BLOCKS, min_block_ms=BLOCK_MS)
    floor = noise_floor(samples, BASE, AGAIN)
    faster = {}
    for name in files:
        ratio = compare(samples, BASE, name)
        faster[name] = [ratio.ratio, ratio.low, ratio.high, judge(ratio, floor)]
    return {"faster": faster, "noise_floor": floor, "base_ms": samples.latency_ms(BASE)["p50"]}


def _opened(path: Path, engine: str) -> Runner:
    session = open_session(path, Target(engine))  # type: ignore[arg-type]
    arrays = {one.name: np.zeros((1, 3, 32, 32), np.float32) for one in session.inputs}
    return session.prepare(arrays)
