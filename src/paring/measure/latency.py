"""Timing several runners in interleaved blocks, so that a busy machine slows all of them alike.

Example:
    samples = interleave({"base": a, "base again": a2, "small": b}, blocks=40, threads=1)
    floor = noise_floor(samples, "base", "base again")
    compare(samples, "base", "small"), verdict(samples, "base", "small", floor)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paring.core.measurement import Ratio, Verdict
from paring.errors import SettingError
from paring.measure.samples import Samples
from paring.measure.steady import steady
from paring.numerics.statistics import paired_ratio

Runner = Callable[[], object]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Clocks:
    """Where time is read, in nanoseconds: wall time, and processor time of all threads of the process."""

    wall: Callable[[], int] = time.perf_counter_ns
    cpu: Callable[[], int] = time.process_time_ns


def interleave(
    runners: Mapping[str, Runner],
    *,
    blocks: int = 40,
    min_block_ms: float = 10.0,
    max_reps: int = 1_000,
    threads: int = 1,
    seed: int = 0,
    reps: Mapping[str, int] | None = None,
    report: Report = lambda done, total: None,
    clocks: Clocks = Clocks(),
) -> Samples:
    """Times every runner in each of `blocks` blocks, the order shuffled anew in each.

    In its turn a runner is called once untimed, to fetch its data back into the caches, then `reps` times back to
    back; `reps` is fixed per runner after warm-up so that a turn lasts about `min_block_ms`.

    Args:
        runners: name -> call, as `Session.prepare` gives it.
        reps: calls a turn, where they are known already.
        threads: how many cores this process is pinned to meanwhile, and PyTorch's threads.
        report: called with (blocks done, blocks) after each.
    Raises: SettingError for no runner or fewer than 2 blocks.
    """
    if not runners or blocks < 2:
        raise SettingError(f"interleave: {len(runners)} runners, {blocks} blocks; it takes at least 1 and 2.")
    rng = np.random.default_rng(seed)
    names = list(runners)
    with steady(threads) as cores:
        per_call_ns = {name: warm_up(run, clocks=clocks) for name, run in runners.items()}
        fitting = {name: int(np.clip(min_block_ms * 1e6 / per_call_ns[name], 1, max_reps)) for name in names}
        counts = fitting | dict(reps or {})
        wall = {name: np.empty((blocks, counts[name]), np.int64) for name in names}
        cpu = {name: np.empty(blocks) for name in names}
        for block in range(blocks):
            for index in rng.permutation(len(names)):
                name = names[index]
                runners[name]()
                wall[name][block], cpu[name][block] = _time(runners[name], counts[name], clocks)
            report(block + 1, blocks)
    return Samples(wall, cpu, threads, {"seed": seed, "cores": list(cores), "min_block_ms": min_block_ms})


def warm_up(
    run: Runner,
    *,
    window_ms: float = 20.0,
    tolerance: float = 0.02,
    max_windows: int = 25,
    clocks: Clocks = Clocks(),
) -> float:
    """Nanoseconds per call once `run` has stopped getting faster.

    Calls in windows of `window_ms`, at least 3 calls each, until two windows in a row fail to beat the fastest median
    so far by more than `tolerance`.
    """
    best, stale = float("inf"), 0
    for _ in range(max_windows):
        median = _window_median(run, window_ms * 1e6, clocks)
        stale = stale + 1 if median > best * (1 - tolerance) else 0
        best = min(best, median)
        if stale == 2:
            break
    return max(best, 1.0)


def compare(samples: Samples, base: str, candidate: str, *, confidence: float = 0.99, seed: int = 0) -> Ratio:
    """Base time over candidate time, wall clock, with its bootstrap interval over blocks."""
    pair = samples.blocks(base), samples.blocks(candidate)
    return Ratio(*paired_ratio(*pair, confidence=confidence, seed=seed, num_groups=samples.lives))


def compare_cpu(samples: Samples, base: str, candidate: str, *, confidence: float = 0.99, seed: int = 0) -> Ratio:
    """The same of processor time."""
    pair = (np.maximum(samples.cpu_blocks(name), 1.0) for name in (base, candidate))
    return Ratio(*paired_ratio(*pair, confidence=confidence, seed=seed, num_groups=samples.lives))


def noise_floor(samples: Samples, base: str, again: str, *, confidence: float = 0.99, seed: int = 0) -> float:
    """How far from 1 the ratio of a file to itself strays in these blocks: 0.03 means that 3 % shows nothing.

    `base` and `again` are two sessions over the same file, timed in the same run.
    """
    ratio = compare(samples, base, again, confidence=confidence, seed=seed)
    return max(ratio.high, 1 / ratio.low) - 1


def verdict(samples: Samples, base: str, candidate: str, floor: float, *, confidence: float = 0.99) -> Verdict:
    """What may be said of `candidate`: `indistinguishable` unless the whole interval lies beyond the floor.

    On one thread the processor clock is a second witness that a busy machine hardly moves: a claim that it contradicts
    (its own ratio points the other way) is not made. With more threads the two may rightly differ.
    """
    wall = compare(samples, base, candidate, confidence=confidence)
    claim = judge(wall, floor)
    if claim == "indistinguishable" or samples.threads > 1:
        return claim
    cpu = compare_cpu(samples, base, candidate, confidence=confidence).ratio
    contradicted = cpu <= 1 if claim == "faster" else cpu >= 1
    return "indistinguishable" if contradicted else claim


def judge(ratio: Ratio, floor: float) -> Verdict:
    """`faster` only if the whole interval lies above 1 + floor, `slower` only if below 1 / (1 + floor)."""
    if ratio.low > 1 + floor:
        return "faster"
    return "slower" if ratio.high < 1 / (1 + floor) else "indistinguishable"


def _time(run: Runner, reps: int, clocks: Clocks) -> tuple[NDArray[np.int64], float]:
    """(wall time of each call (reps,), processor time per call)."""
    stamps = [0] * (reps + 1)
    wall = clocks.wall
    cpu_start = clocks.cpu()
    stamps[0] = wall()
    for index in range(1, reps + 1):
        run()
        stamps[index] = wall()
    cpu_end = clocks.cpu()
    ticks = np.array(stamps, np.int64)
    return ticks[1:] - ticks[:-1], (cpu_end - cpu_start) / reps


def _window_median(run: Runner, window_ns: float, clocks: Clocks) -> float:
    stamps = [clocks.wall()]
    while len(stamps) < 4 or stamps[-1] - stamps[0] < window_ns:
        run()
        stamps.append(clocks.wall())
    return float(np.median(np.diff(stamps)))
