"""The files of benchmarks/search.py on the clock, each task's in turns: on a quiet machine only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantize_files import call_of

from paring import Target, Task
from paring.artifacts.onnx import write_onnx
from paring.measure.latency import compare, interleave, noise_floor
from paring.studies.teachers import cache_folder

FILES = cache_folder().parent / "benchmarks" / "search"
DENSE, AGAIN = "the model as it is", "again"
BLOCKS, BLOCK_MS = 100, 20.0  # many, to meet quiet; long: a first call reads weights that others put out of the caches


def file_of(name: str) -> Path:
    """Where a row's file stays."""
    FILES.mkdir(parents=True, exist_ok=True)
    return FILES / f"{''.join(one if one.isalnum() or one == '.' else '-' for one in name)}.onnx"


def clocked(task: Task, subject: str, rows: Mapping[str, dict[str, Any]], target: Target) -> dict[str, Any]:
    """Median milliseconds of every row's file at batch 1 in `target`, and how many times faster than the model's."""
    dense = dense_of(task, subject)
    found = {name: file_of(name) for name, row in rows.items() if "miss" not in row}
    files = {DENSE: dense, AGAIN: dense} | {name: path for name, path in found.items() if path.is_file()}
    runners = {name: call_of(path, target, task) for name, path in files.items()}
    samples = interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS)
    floor = noise_floor(samples, DENSE, AGAIN)
    timed = {}
    for name in (one for one in files if one != AGAIN):
        ratio = compare(samples, DENSE, name if name != DENSE else AGAIN)
        p50 = samples.latency_ms(name)["p50"]
        timed[name] = {"ms": p50, "faster": [ratio.ratio, ratio.low, ratio.high], "bytes": files[name].stat().st_size}
    return {"target": str(target), "noise_floor": floor, "files": timed}


def faster(task: Task, subject: str, path: Path, target: Target) -> list[float]:
    """How many times faster a file is in `target` than the model in ONNX Runtime's fp32, in turns: ratio, low, high."""
    runners = {DENSE: call_of(dense_of(task, subject), Target(), task), "it": call_of(path, target, task)}
    ratio = compare(interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS), DENSE, "it")
    return [ratio.ratio, ratio.low, ratio.high]


def dense_of(task: Task, subject: str) -> Path:
    """The model itself as a file."""
    path = file_of(f"{subject} dense")
    write_onnx(task.model, task, path)
    return path
