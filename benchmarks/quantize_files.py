"""Files of benchmarks/quantize.py, ours and the peers': made, opened, judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from kept import PEERS
from onnx import numpy_helper
from quantize_reasons import reason
from quantize_tasks import HOME, OUT, Subject
from torch import Tensor

from paring import Recipe, Target, compress, rebuild
from paring.artifacts.onnx import write_onnx
from paring.artifacts.verify import check_parity
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.engines import FileSession, open_session
from paring.engines.openvino import OpenVinoSession, settings
from paring.engines.protocol import InputSpec, Shapes
from paring.errors import EngineError, ParityError
from paring.judge.bench import timed_inputs
from paring.measure.latency import Runner
from paring.measure.quality import file_inputs, file_outputs, quality

TARGETS = (
    Target("onnxruntime"),
    Target("openvino", "fp32", static_shapes=True),
    Target("openvino", "bf16", static_shapes=True),
)
PEER_LIMIT_S = 900


@dataclass(frozen=True)
class Peer:
    """One way to call a peer: environment (None: ours), script, settings, and the ending of what it writes."""

    script: str
    settings: tuple[str, ...] = ()
    environment: str | None = None
    ending: str = "onnx"

    def made(self, given: Path, name: str) -> tuple[Path, dict[str, Any]]:
        """Its file, and what it said. Raises EngineError with its last line."""
        python = Path(sys.executable) if self.environment is None else PEERS / self.environment / "bin" / "python"
        if not python.is_file():
            raise EngineError(f"{self.environment}: run benchmarks/quantize_peers/install.sh first.")
        path = given / f"{file_name(name)}.{self.ending}"
        call = [str(python), str(HOME / "quantize_peers" / self.script), str(given), str(path), *self.settings]
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ran = subprocess.run(call, capture_output=True, text=True, check=False, timeout=PEER_LIMIT_S, env=kept)
        if ran.returncode:
            lines = [line for line in ran.stderr.splitlines() if line.strip()] or ["it said nothing"]
            raise EngineError(f"{self.script}: {lines[-1].strip()[:300]}")
        said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return path, said


def file_name(name: str) -> str:
    """A row's name as that of a file."""
    return "".join(one if one.isalnum() or one == "." else "-" for one in name)


def our_file(name: str, subject: Subject, folder: Path, passes: tuple[Pass, ...]) -> tuple[Path, dict[str, Any]]:
    """The recipe's file, checked against the model in every engine, and what its layers became."""
    candidate = compress(subject.task, Recipe(passes, name))
    model, path = rebuild(candidate, subject.task), folder / f"{file_name(name)}.onnx"
    write_onnx(model, subject.task, path)
    parity = {}
    for engine in ("onnxruntime", "openvino"):
        target = Target(engine)
        parity[engine] = check_parity(open_session(path, target, exact=True), model, subject.timed, where=name)
    return path, {
        "recipe": [str(step) for step in passes],
        "declined": [[one.layer, one.reason] for one in candidate.declined],
        "parity": parity,
    }


def opened(path: Path, target: Target, static: Shapes | None = None) -> FileSession:
    """A session over ONNX, or over OpenVINO's own format with the same settings. Raises EngineError."""
    if path.suffix != ".xml":
        return open_session(path, target, static=static)
    if target.engine != "openvino":
        raise EngineError(f"{path.name}: only OpenVINO reads it.")
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    if static is not None:
        model.reshape({name: list(shape) for name, shape in static.items()})
    try:
        native = core.compile_model(model, "CPU", settings(target, exact=False))
    except RuntimeError as error:  # OpenVINO's own
        raise EngineError(f"{path.name}: {' '.join(str(error).split())[:300]}") from error
    specs = [tuple(_spec(port) for port in ports) for ports in (native.inputs, native.outputs)]
    return OpenVinoSession(path, native, *specs)


def _spec(port: Any) -> InputSpec:
    shape = tuple(one.get_length() if one.is_static else None for one in port.get_partial_shape())
    return InputSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()))


def call_of(path: Path, target: Target, task: Task) -> Runner:
    """One call of the file at batch 1 on the task's first inputs, in the shapes the target wants."""
    session = opened(path, target)
    arrays = file_inputs(session, timed_inputs(task, 1))
    if target.static_shapes:
        session = opened(path, target, {name: array.shape for name, array in arrays.items()})
    return session.prepare(arrays)


def file_bytes(path: Path) -> int:
    """Bytes of the file, with its weights where they lie beside it."""
    beside = path.with_suffix(".bin")
    return path.stat().st_size + (beside.stat().st_size if path.suffix == ".xml" and beside.is_file() else 0)


def weight_bytes(path: Path) -> int:
    """Bytes of the numbers in the file alone."""
    if path.suffix == ".xml":
        return path.with_suffix(".bin").stat().st_size
    return sum(len(one.raw_data) or numpy_helper.to_array(one).nbytes for one in onnx.load(path).graph.initializer)


def judged(path: Path, subject: Subject, folder: Path, targets: tuple[Target, ...] = TARGETS) -> list[dict[str, Any]]:
    """Metric and drop from the file, on validation and test, in every engine and precision."""
    rows: list[dict[str, Any]] = []
    for target in targets:
        try:
            session = opened(path, target)
            rows.append(
                {"target": str(target)} | {split: _drop(session, subject.task, folder, split) for split in SPLITS}
            )
        except (EngineError, ParityError) as error:
            rows.append({"target": str(target), "refused": reason(error)})
    return rows


SPLITS = ("validation", "test")


def _drop(session: FileSession, task: Task, folder: Path, split: str) -> dict[str, Any]:
    after, targets = file_outputs(session, getattr(task, split))
    return found(task, before(task, folder, split), after, targets, split)


def found(task: Task, first: Tensor, after: Tensor, targets: Tensor, split: str) -> dict[str, Any]:
    """Metric and drop of answers against the fp32 file's."""
    seen = quality(task.metric, first, after, targets, split=split)
    error = float((after.double() - first.double()).square().mean().sqrt() / first.double().square().mean().sqrt())
    return {
        "metric": seen.metric, "drop": seen.drop, "interval": seen.drop_interval, "n": seen.num_examples,
        "error": error,
    }  # fmt: skip


def before(task: Task, folder: Path, split: str) -> Tensor:
    """The fp32 file's answers in ONNX Runtime, once."""
    kept = folder / f"before-{split}.npy"
    if not kept.is_file():
        session = open_session(folder / "model.onnx", TARGETS[0])
        np.save(kept, file_outputs(session, getattr(task, split))[0].numpy())
    return torch.from_numpy(np.load(kept))


def answers_judged(path: Path, subject: Subject, folder: Path) -> list[dict[str, Any]]:
    """The same for a peer that answers itself and writes no file: test only."""
    task = subject.task
    assert task.test is not None
    targets = torch.cat([torch.as_tensor(target) for _, target in task.test])
    after = torch.from_numpy(np.load(path)["answers"])
    return [{"target": "its own process", "test": found(task, before(task, folder, "test"), after, targets, "test")}]


def folder_of(name: str) -> Path:
    """Where a subject's files lie."""
    return OUT / name
