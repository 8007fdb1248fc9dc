"""The files of benchmarks/search.py on the clock, each task's in turns: on a quiet machine only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paring import Target, Task
from paring.artifacts.onnx import write_onnx
from paring.engines import open_session
from paring.judge.bench import timed_inputs
from paring.measure.latency import compare, interleave, noise_floor
from paring.measure.quality import file_inputs
from paring.studies.teachers import cache_folder

FILES = cache_folder().parent / "benchmarks" / "search"
DENSE, AGAIN = "the model as it is", "again"
BLOCKS, BLOCK_MS = 30, 5.0


def file_of(name: str) -> Path:
    """Where a row's file stays."""
    FILES.mkdir(parents=True, exist_ok=True)
    return FILES / f"{''.join(one if one.isalnum() or one == '.' else '-' for one in name)}.onnx"


def clocked(task: Task, subject: str, rows: Mapping[str, dict[str, Any]], target: Target) -> dict[str, Any]:
    """Median milliseconds of every row's file at batch 1 in `target`, and how many times faster than the model's."""
    dense = file_of(f"{subject} dense")
    write_onnx(task.model, task, dense)
    found = {name: file_of(name) for name, row in rows.items() if "miss" not in row}
    files = {DENSE: dense, AGAIN: dense} | {name: path for name, path in found.items() if path.is_file()}
    runners = {}
    for name, path in files.items():
        session = open_session(path, target)
        inputs = file_inputs(session, timed_inputs(task, 1))
        if target.static_shapes:
            session = open_session(path, target, static={key: array.shape for key, array in inputs.items()})
        runners[name] = session.prepare(inputs)
    samples = interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS)
    floor = noise_floor(samples, DENSE, AGAIN)
    timed = {}
    for name in (one for one in files if one != AGAIN):
        ratio = compare(samples, DENSE, name if name != DENSE else AGAIN)
        p50 = samples.latency_ms(name)["p50"]
        timed[name] = {"ms": p50, "faster": [ratio.ratio, ratio.low, ratio.high], "bytes": files[name].stat().st_size}
    return {"target": str(target), "noise_floor": floor, "files": timed}
