"""Whole plans exported, and timed against the model as it came."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from paring.allocate.costs import sized_inputs
from paring.allocate.kept import read_kept, write_kept
from paring.allocate.made import shaped
from paring.allocate.option import Choice, by_layer
from paring.artifacts.onnx import write_onnx
from paring.core.edit import Progress
from paring.core.target import Target
from paring.core.task import Task
from paring.engines import open_session
from paring.measure.latency import Runner, compare, interleave
from paring.measure.quality import file_inputs

BLOCKS, BLOCK_MS = 36, 20.0  # many: one quiet stretch is enough
MODEL, PLAN = "model", "plan"
Shares = dict[str, float]  # of the model's time, by plan


class Stopwatch:
    """Milliseconds of a plan: `dense_ms`, times the plan's part of the model's own time in the same blocks.

    What was timed once is kept in `path`. A context: files are written while it is open.
    Raises: CorruptFileError for a file there that cannot be read.
    """

    def __init__(self, model: nn.Module, target: Target, task: Task, dense_ms: float, path: Path) -> None:
        self.model, self.target, self.task, self.dense_ms, self.path = model, target, task, dense_ms, path
        self._shares = self._kept()
        self._call: Runner | None = None  # of the model
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Stopwatch:
        self._folder = TemporaryDirectory()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._folder is not None
        self._folder.cleanup()
        self._call, self._folder = None, None

    def ms(self, choice: Choice) -> Generator[Progress, None, float]:
        """Raises ExportError, EngineError if the plan's file cannot be written or run."""
        key = hashlib.sha256(str(sorted(by_layer(choice))).encode()).hexdigest()[:16]
        if key not in self._shares:
            assert self._folder is not None, "a stopwatch is a context"
            yield Progress(0, 1, "timing a whole plan")
            folder = Path(self._folder.name)
            if self._call is None:
                self._call = runner_of(self.model, self.target, self.task, folder / "model.onnx")
            path = folder / "plan.onnx"
            plan = shaped(self.model, self.task, choice)
            runners = {MODEL: self._call, PLAN: runner_of(plan, self.target, self.task, path)}
            taken = interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS, threads=self.target.threads)
            path.unlink()
            self._shares[key] = 1 / compare(taken, MODEL, PLAN).ratio
            write_kept(self.path, self._kept() | self._shares, Shares)
        return self.dense_ms * self._shares[key]

    def _kept(self) -> Shares:
        return read_kept(self.path, Shares, "times of plans") if self.path.is_file() else {}


def runner_of(model: nn.Module, target: Target, task: Task, path: Path) -> Runner:
    """A call of `model` on `target`, written to `path`. Raises ExportError, EngineError."""
    write_onnx(model, task, path)
    session = open_session(path, target)
    inputs = file_inputs(session, sized_inputs(task, target.batch_size))
    if target.static_shapes:
        session = open_session(path, target, static={name: array.shape for name, array in inputs.items()})
    return session.prepare(inputs)
