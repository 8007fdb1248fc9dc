"""How fast this machine reads memory, cache level by cache level."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

CPU = Path("/sys/devices/system/cpu/cpu0/cache")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
USUAL = {"L1": 32 << 10, "L2": 512 << 10, "L3": 16 << 20}
MEMORY = "memory"
SHARED_FROM = "L3"  # levels below belong to one core each


@dataclass(frozen=True)
class Level:
    """A place that numbers can lie in: up to `size_bytes` (0: no limit), read at `bytes_per_s`."""

    name: str
    size_bytes: int
    bytes_per_s: float


def cache_sizes(folder: Path = CPU) -> dict[str, int]:
    """Level -> bytes of the data caches a core sees; usual sizes where the system does not say."""
    sizes = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and size[-1:] in UNITS and size[:-1].isdigit():
            sizes[f"L{level}"] = int(size[:-1]) * UNITS[size[-1]]
    return dict(sorted(sizes.items())) or dict(USUAL)


def bandwidths(threads: int = 1, *, attempts: int = 5) -> tuple[Level, ...]:
    """Read bandwidth of `threads` cores from each cache level and from memory, the best of several attempts.

    A dot product of a float32 array with itself reads it once. Two sizes within a level are timed and their difference
    taken, so that what a call costs drops out.
    """
    levels, below = [], 0
    with threadpool_limits(1):
        for name, size in cache_sizes().items():
            rate = _rate(max(below * 5 // 4, size // 4), size * 3 // 4, 1 if name < SHARED_FROM else threads, attempts)
            levels.append(Level(name, size, rate * (threads if name < SHARED_FROM else 1)))
            below = size
        levels.append(Level(MEMORY, 0, _rate(4 * below, 6 * below, threads, min(attempts, 3))))
    return _falling(levels)


def _rate(small: int, large: int, threads: int, attempts: int) -> float:
    """Bytes per second by all `threads` cores, each reading its share."""
    small, large = small // threads, large // threads
    if small >= large:
        small = large // 2
    times = [_seconds(np.ones(size // 4, np.float32), threads, attempts) for size in (small, large)]
    gained = times[1] - times[0]
    whole = large / times[1]
    return threads * max((large - small) / gained if gained > 0 else 0.0, whole)


def _seconds(array: np.ndarray[tuple[int], np.dtype[np.float32]], threads: int, attempts: int) -> float:
    """The shortest time of one read, calls back to back for some milliseconds."""
    reps = max(3, int(2e-3 * 3e10 / array.nbytes))
    copies = [array.copy() for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return min(max(pool.map(lambda own: _loop(own, reps), copies)) for _ in range(attempts))


def _loop(array: np.ndarray[tuple[int], np.dtype[np.float32]], reps: int) -> float:
    np.dot(array, array)
    start = time.perf_counter()
    for _ in range(reps):
        np.dot(array, array)
    return (time.perf_counter() - start) / reps


def _falling(levels: list[Level]) -> tuple[Level, ...]:
    """No level slower than one further away: where a look was disturbed, the further one is a lower bound."""
    best, fixed = 0.0, []
    for level in reversed(levels):
        best = max(best, level.bytes_per_s)
        fixed.append(Level(level.name, level.size_bytes, best))
    return tuple(reversed(fixed))
