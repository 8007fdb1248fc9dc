"""An edge device imitated: one thread on one core, and a cap on memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paring.errors import EngineError
from paring.measure.steady import pinned, quiet_cores

OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate", "Cannot allocate", "out of memory")


@contextmanager
def edge(memory_bytes: int) -> Iterator[None]:
    """Runs the block on one core with at most `memory_bytes` beyond what this process holds now.

    Raises: EngineError, in one line, if the block wants more.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    cap = _data_bytes() + memory_bytes
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_DATA, (cap if hard == resource.RLIM_INFINITY else min(cap, hard), hard))
    try:
        with pinned(quiet_cores(1)):
            yield
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise EngineError(
                f"out of memory: the edge profile allows {memory_bytes:,} bytes. Compress further, or raise --memory."
            ) from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def _data_bytes() -> int:
    """Private writable memory of this process, which is what the limit counts."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
