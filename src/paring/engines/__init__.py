"""Engines behind one small protocol. Importing this needs no torch, and no engine until a file is opened.

Example:
    session = open_session("model.onnx", Target(engine="openvino", threads=1))
    [logits] = session.run({session.input_names[0]: x})          # x (32, 3, 32, 32) -> logits (32, 10)
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import get_args

from paring.core.target import Device, EngineName, Precision, Target
from paring.engines.processor import (
    cpu_flags,
    cpu_precisions,
    has_vnni,
    machine,
    quick_in_integers,
    usable_cores,
)  # fmt: skip
from paring.engines.protocol import FileSession, Session, Shapes
from paring.errors import CorruptFileError, EngineError, UnknownNameError

__all__ = [
    "FileSession", "Session", "check_file", "cpu_flags", "devices", "engine_versions", "has_vnni",
    "installed_engines", "machine", "open_session", "precisions", "quick_in_integers", "usable_cores",
]  # fmt: skip


def open_session(path: str | Path, target: Target, *, exact: bool = False, static: Shapes | None = None) -> FileSession:
    """The file at `path`, ready to run as `target` says.

    Args:
        exact: the setting under which parity is checked: fp32, and in ONNX Runtime integer products that cannot
            saturate, slower on an x86 processor without VNNI. OpenVINO has no such setting: there, full-range int8
            weights may saturate on such a processor, and parity then refuses the file.
        static: a shape for every input, fixed at load. OpenVINO is 1.1-1.2 times faster so; ONNX Runtime runs the
            dynamic file either way and ignores it.
    Raises: EngineError for an engine that is not installed, lacks the precision or refuses the file; CorruptFileError
        for a file that is no ONNX.
    """
    path = Path(path)
    if target.engine == "torch":
        raise EngineError("torch runs a module, not a file; use paring.measure.eager, or engine onnxruntime, openvino.")
    if target.engine not in installed_engines():
        raise EngineError(
            f"{target.engine} is not installed (installed: {', '.join(installed_engines()) or 'none'}). "
            f"Run: pip install {target.engine}"
        )
    if not exact and target.device == "cpu" and target.precision not in precisions(target.engine):
        raise EngineError(
            f"{target.engine} on this processor computes in {', '.join(precisions(target.engine))}, "
            f"and the target asks for {target.precision}."
        )
    check_file(path)
    if target.engine == "onnxruntime":
        from paring.engines.onnxruntime import open_onnxruntime

        return open_onnxruntime(path, target, exact=exact)
    from paring.engines.openvino import open_openvino

    return open_openvino(path, target, exact=exact, static=static)


def installed_engines() -> tuple[EngineName, ...]:
    """Engines that can be imported here; asks no engine, so that it costs nothing."""
    return tuple(name for name in get_args(EngineName) if importlib.util.find_spec(name) is not None)


def engine_versions() -> dict[str, str]:
    """Name -> version of every installed engine, for manifests."""
    return {name: importlib.metadata.version(name) for name in installed_engines()}


def precisions(engine: str) -> tuple[Precision, ...]:
    """What `engine` can compute float layers in on this processor, fp32 first.

    ONNX Runtime has no bf16 or fp16 kernels on a CPU, and the eager rows are fp32 by definition; OpenVINO has what the
    processor has instructions for. Raises UnknownNameError.
    """
    if engine not in get_args(EngineName):
        raise UnknownNameError("engine", engine, get_args(EngineName))
    return cpu_precisions() if engine == "openvino" else ("fp32",)


def devices(engine: str) -> tuple[Device, ...]:
    """Where `engine` can run a file here: cpu, and cuda if ONNX Runtime was built for it and finds a GPU."""
    if engine != "onnxruntime" or engine not in installed_engines():
        return ("cpu",)
    import onnxruntime as ort

    return ("cpu", "cuda") if "CUDAExecutionProvider" in ort.get_available_providers() else ("cpu",)


def check_file(path: Path) -> None:
    """Raises EngineError unless there is a file, CorruptFileError if it is empty."""
    if not path.is_file():
        raise EngineError(f"{path}: there is no such file; give an artifact folder or an .onnx file.")
    if path.stat().st_size == 0:
        raise CorruptFileError(f"{path}: the file is empty; export it again.")
