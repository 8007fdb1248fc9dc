"""Targets on the command line: every combination of engines, precisions, devices, threads and batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import get_args

from paring.core.target import Device, EngineName, Precision, Target
from paring.engines import installed_engines, precisions
from paring.errors import EngineError, UnknownNameError

FILE_ENGINES = tuple(name for name in get_args(EngineName) if name != "torch")


def targets_of(
    engines: Sequence[str] | None,
    wanted: Sequence[str] | None,
    devices: Sequence[str] | None,
    threads: Sequence[int],
    batch_sizes: Sequence[int],
) -> tuple[Target, ...]:
    """Every Target asked for; without `engines` the installed ones, without `wanted` each precision they have.

    Raises: UnknownNameError; EngineError for an engine that is not installed or lacks a precision.
    """
    _check("--engine", engines, FILE_ENGINES)
    _check("--precision", wanted, get_args(Precision))
    _check("--device", devices, get_args(Device))
    for engine in engines or ():
        if engine not in installed_engines():
            raise EngineError(f"{engine} is not installed. Run: pip install {engine}")
    named = list(engines or [name for name in FILE_ENGINES if name in installed_engines()])
    found = [
        Target(engine, precision, count, batch, device, static_shapes=engine == "openvino")  # type: ignore[arg-type]
        for count, batch, device, engine in product(threads, batch_sizes, devices or ["cpu"], named)
        for precision in (wanted or precisions(engine))
        if precision in precisions(engine)
    ]
    if not found:
        has = "; ".join(f"{engine} {', '.join(precisions(engine))}" for engine in named)
        raise EngineError(f"--precision {', '.join(wanted or ())}: no engine computes in it on this processor ({has}).")
    return tuple(dict.fromkeys(found))


def _check(option: str, given: Sequence[str] | None, known: tuple[str, ...]) -> None:
    for name in given or ():
        if name not in known:
            raise UnknownNameError(option.removeprefix("--"), name, known, option)
