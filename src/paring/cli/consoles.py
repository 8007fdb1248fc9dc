"""Where words go: results to stdout, the rest to stderr. Needs no torch."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

NARROWEST = 132  # columns in a pipe or a log, where no terminal says how wide it is
STDOUT, STDERR = 1, 2
console = Console() if sys.stdout.isatty() else Console(width=NARROWEST)
errors = Console(stderr=True)


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """What is written to stdout meanwhile goes to stderr: solvers and engines print from C, whatever they are told."""
    if sys.stderr is None:  # closed by who called
        yield
        return
    _flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, STDOUT)
        os.close(kept)


def _flush() -> None:
    """Python's buffer and C's."""
    sys.stdout.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
