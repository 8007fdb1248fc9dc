"""Which of several ways to place quantizers runs fastest here: each is exported and timed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

from torch import nn

from paring.artifacts.onnx import write_onnx
from paring.core.edit import Progress
from paring.core.stream import drain
from paring.core.target import EngineName, Target
from paring.core.task import Task
from paring.engines import installed_engines, open_session, precisions
from paring.errors import EngineError
from paring.measure.latency import interleave
from paring.measure.quality import file_inputs
from paring.quantize.plan import Plan
from paring.quantize.sensitivity import in_integers

BLOCKS = 20


def fastest(
    ways: list[Generator[Progress, None, Plan]], model: nn.Module, task: Task, engine: EngineName | None
) -> Generator[Progress, None, int]:
    """The place in `ways` of the plan whose file has the smallest median latency, at the size of the example.

    Every installed engine and precision is tried, or those of `engine` alone.
    Raises: EngineError if no engine runs any of the files.
    """
    runners: dict[str, Callable[[], object]] = {}
    refused: list[str] = []
    engines = [name for name in installed_engines() if name != "torch" and engine in (None, name)]
    with tempfile.TemporaryDirectory() as folder:
        for place, way in enumerate(ways):
            path = Path(folder) / f"{place}.onnx"
            write_onnx(in_integers(model, drain(way), task), task, path)
            yield Progress(place + 1, len(ways), "exporting each placement")
            for target in (Target(name, precision) for name in engines for precision in precisions(name)):
                try:
                    session = open_session(path, target)
                    runners[f"{place} {target}"] = session.prepare(file_inputs(session, task.example_inputs))
                except EngineError as error:
                    refused.append(str(error))
        if not runners:
            raise EngineError(refused[0] if refused else f"placement: clock needs {engine or 'an engine'} installed.")
        samples = interleave(runners, blocks=BLOCKS, min_block_ms=5.0)
    best = min(runners, key=lambda name: (samples.latency_ms(name)["p50"], name))
    return int(best.split()[0])
