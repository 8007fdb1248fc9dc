"""Measures a file that is simply there: no candidate, no baseline."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from paring.artifacts.manifest import verify_artifact
from paring.core.check import check_task
from paring.core.target import Target
from paring.core.task import Task
from paring.engines import open_session
from paring.engines.inputs import free_inputs
from paring.engines.protocol import Arrays, Shapes
from paring.errors import EngineError
from paring.judge.bench import Bench, timed_inputs
from paring.judge.evidence import evidence
from paring.measure.canary import CANARY, canary, drift
from paring.measure.latency import Report, Runner
from paring.measure.lives import interleave_anew
from paring.measure.quality import file_inputs, file_outputs


def measure_file(
    path: Path,
    bench: Bench,
    task: Task | None = None,
    shapes: Shapes | None = None,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """Bytes, and per Target latency, throughput, memory, floor and (with a task) the metric on its headline split.

    `path` is an .onnx file, or an artifact folder, whose checksums are verified first. Without a task the inputs are
    zeros of `shapes`, or of the file's own with free dimensions 1 and the batch as the bench says.
    Raises: CorruptFileError, EngineError.
    """
    if path.is_dir():
        verify_artifact(path)
        path = path / "model.onnx"
    if task is not None:
        check_task(task)
    sessions, inputs, refused = {}, {}, {}
    for target in bench.targets():
        try:
            sessions[target] = open_session(path, target)
        except EngineError as error:
            refused[str(target)] = str(error)
            continue
        session = sessions[target]
        inputs[target] = (
            free_inputs(path, session.inputs, bench.batch_size, shapes)
            if task is None
            else file_inputs(session, timed_inputs(task, bench.batch_size))
        )
    if not sessions:
        raise EngineError(next(iter(refused.values())))
    openers = {str(target): partial(_opened, path, target, inputs[target]) for target in sessions}
    samples = interleave_anew(
        openers | {CANARY: canary},
        blocks=bench.blocks,
        min_block_ms=bench.min_block_ms,
        threads=bench.threads,
        report=report,
    )
    rows = []
    for target, session in sessions.items():
        name = str(target)
        behind = evidence(path, target, inputs[target], samples, bench)
        rows.append(
            {
                "name": name,
                **asdict(target),
                "latency_ms": samples.latency_ms(name),
                "cpu_ms": samples.cpu_ms(name),
                "throughput_per_s": samples.throughput_per_s(name, bench.batch_size),
                "throughput": [asdict(entry) for entry in behind.throughput],
                "peak_memory_bytes": behind.memory.peak_bytes,
                "memory": asdict(behind.memory),
                "roofline_multiple": None if behind.floor is None else behind.floor.multiple,
                "roofline": None if behind.floor is None else asdict(behind.floor),
                "metric": None if task is None else task.metric(*file_outputs(session, task.headline()[1])),
            }
        )
    first = next(iter(sessions.values()))
    return {
        "path": str(path),
        "file_bytes": path.stat().st_size,
        "inputs": list(first.input_names),
        "metric_name": None if task is None else task.metric.name,
        "split": None if task is None else task.headline()[0],
        "targets": rows,
        "drift": drift(samples),
        "refused": refused,
    }


def _opened(path: Path, target: Target, inputs: Arrays) -> Runner:
    shapes = {name: array.shape for name, array in inputs.items()} if target.static_shapes else None
    return open_session(path, target, static=shapes).prepare(inputs)
