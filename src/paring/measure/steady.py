"""A process held still while it is timed: cores pinned, collector off, PyTorch's threads set."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paring.engines.processor import usable_cores
from paring.measure.eager import torch_threads


@contextmanager
def steady(threads: int) -> Iterator[tuple[int, ...]]:
    """Pins every thread of this process to the `threads` least busy cores and switches the collector off.

    Yields: the cores. All is restored at the end, whatever happens; where threads cannot be pinned (no Linux) they
    are left alone.
    """
    cores = quiet_cores(threads)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch_threads(threads), pinned(cores):
            yield cores
    finally:
        if collecting:
            gc.enable()


@contextmanager
def pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """Every thread of this process on `cores`, engines' pools included; afterwards where it was before."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = {thread: _cores_of(thread) for thread in _threads()}
    default = before.get(os.getpid()) or set(usable_cores())
    for thread in before:
        _pin(thread, set(cores))
    try:
        yield
    finally:
        for thread in _threads():  # threads born meanwhile inherited the narrow set
            _pin(thread, before.get(thread) or default)


def quiet_cores(threads: int, *, look_s: float = 0.05) -> tuple[int, ...]:
    """The `threads` usable cores that idled most during a short look, or all of them if there are fewer."""
    cores = usable_cores()
    if len(cores) <= threads:
        return cores
    before = _idle_ticks()
    time.sleep(look_s)
    after = _idle_ticks()
    idle = {core: after.get(core, 0) - before.get(core, 0) for core in cores}
    return tuple(sorted(sorted(cores, key=lambda core: (-idle[core], core))[:threads]))


def _idle_ticks(source: str = "/proc/stat") -> dict[int, int]:
    """Core -> ticks spent idle since boot; empty where the system does not say."""
    try:
        lines = Path(source).read_text().splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines if line.startswith("cpu") and line[3].isdigit()]
    return {int(row[0][3:]): int(row[4]) for row in rows}


def _threads() -> list[int]:
    try:
        return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    except OSError:
        return [0]


def _cores_of(thread: int) -> set[int] | None:
    try:
        return os.sched_getaffinity(thread)
    except OSError:  # it ended meanwhile
        return None


def _pin(thread: int, cores: set[int]) -> None:
    try:
        os.sched_setaffinity(thread, cores)
    except OSError:  # it ended meanwhile, or the system forbids it
        return
