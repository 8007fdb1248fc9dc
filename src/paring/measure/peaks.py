"""What this machine can do at best: measured once, kept, and the yardstick of every roofline."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from paring.core.atomic import cache_home, write_atomically
from paring.core.target import Target
from paring.engines import cpu_flags, installed_engines, machine, open_session, precisions
from paring.engines.protocol import Arrays
from paring.measure.bandwidth import Level, bandwidths
from paring.measure.kernels import (
    CONVOLUTIONS,
    PRODUCTS,
    Kernel,
    Kind,
    write_convolution,
    write_nothing,
    write_product,
)  # fmt: skip
from paring.measure.latency import warm_up
from paring.measure.steady import steady

FORMAT = 1
KIND_S = 0.15  # how long one kernel is tried


@dataclass(frozen=True)
class Peaks:
    """Best rates seen with `threads` threads.

    `macs_per_s` by compute type (fp32, bf16, int8; a type without instructions is missing); `levels` from the nearest
    cache to memory; `overhead_s` what one call into an engine costs.
    """

    threads: int
    macs_per_s: dict[str, float]
    levels: tuple[Level, ...]
    overhead_s: dict[str, float]
    kernels: dict[str, str]

    def level_of(self, size_bytes: float) -> Level:
        """The nearest level that holds `size_bytes`."""
        return next((level for level in self.levels if level.size_bytes >= size_bytes), self.levels[-1])

    def better(self, other: Peaks) -> Peaks:
        """The best of both: a disturbed look can only understate."""
        kinds = self.macs_per_s.keys() | other.macs_per_s.keys()
        winners = {kind: max((self, other), key=lambda one: one.macs_per_s.get(kind, 0.0)) for kind in sorted(kinds)}
        far = float("inf")
        engines = sorted(self.overhead_s.keys() | other.overhead_s.keys())
        return Peaks(
            self.threads,
            {kind: one.macs_per_s[kind] for kind, one in winners.items()},
            tuple(
                Level(a.name, a.size_bytes, max(a.bytes_per_s, b.bytes_per_s))
                for a, b in zip(self.levels, other.levels, strict=True)
            ),
            {name: min(self.overhead_s.get(name, far), other.overhead_s.get(name, far)) for name in engines},
            {kind: one.kernels[kind] for kind, one in winners.items()},
        )


def peaks_file(threads: int) -> Path:
    """Where the peaks of this machine are kept: `$XDG_CACHE_HOME/paring/machine-<processor>-<threads>.json`."""
    key = sha256(f"{machine()['cpu']} {sorted(cpu_flags())}".encode()).hexdigest()[:12]
    return cache_home() / f"machine-{key}-{threads}.json"


def known_peaks(threads: int = 1) -> Peaks | None:
    """The peaks measured earlier, or None."""
    try:
        held = json.loads(peaks_file(threads).read_text(encoding="utf-8"))
        if held.pop("format") != FORMAT:
            return None
        return Peaks(**{**held, "levels": tuple(Level(**level) for level in held["levels"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def keep_peaks(peaks: Peaks) -> Peaks:
    """Writes the best of `peaks` and what was known, and returns it."""
    known = known_peaks(peaks.threads)
    best = peaks if known is None or len(known.levels) != len(peaks.levels) else peaks.better(known)
    write_atomically(
        peaks_file(peaks.threads), (json.dumps({"format": FORMAT, **asdict(best)}, indent=1) + "\n").encode()
    )
    return best


def machine_peaks(threads: int = 1, *, report: Callable[[str], None] = lambda words: None) -> Peaks:
    """The peaks of this machine: those known, else measured now (some 10 s) and kept."""
    return known_peaks(threads) or keep_peaks(measure_peaks(threads, report=report))


def measure_peaks(threads: int = 1, *, report: Callable[[str], None] = lambda words: None) -> Peaks:
    """Measures: fp32, bf16 and int8 through the engines' own kernels, cache levels, and calls."""
    rates: dict[str, float] = {}
    names: dict[str, str] = {}
    overheads: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, steady(threads):
        path = Path(folder) / "kernel.onnx"
        for kernel in _kernels(path):
            for kind, target in _targets(kernel.kind, threads):
                report(f"{kind}: {kernel.name} in {target}")
                rate = kernel.macs / _shortest(path, target, {"x": kernel.x}, KIND_S)
                if rate > rates.get(kind, 0.0):
                    rates[kind], names[kind] = rate, f"{kernel.name} in {target.engine}"
        x = write_nothing(path)
        for engine in installed_engines():
            if engine != "torch":
                report(f"a call into {engine}")
                overheads[engine] = _shortest(path, Target(engine, threads=threads), {"x": x}, KIND_S)
        report("bandwidth")
        levels = bandwidths(threads)
    return Peaks(threads, rates, levels, overheads, names)


def _kernels(path: Path) -> Iterator[Kernel]:
    kinds: tuple[Kind, ...] = ("fp32", "int8")
    for kind in kinds:
        for shape in PRODUCTS:
            yield write_product(path, *shape, kind)
        for size in CONVOLUTIONS:
            yield write_convolution(path, *size, kind)


def _targets(kind: Kind, threads: int) -> Iterator[tuple[str, Target]]:
    for engine in installed_engines():
        if engine == "torch":
            continue
        for precision in precisions(engine):
            if kind == "fp32" or precision == "fp32":
                name = kind if precision == "fp32" else precision
                yield name, Target(engine, precision, threads, static_shapes=engine == "openvino")


def _shortest(path: Path, target: Target, inputs: Arrays, seconds: float) -> float:
    """Seconds of the fastest call."""
    static = {name: array.shape for name, array in inputs.items()} if target.static_shapes else None
    call = open_session(path, target, static=static).prepare(inputs)
    warm_up(call, window_ms=5, max_windows=6)
    best, until = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        call()
        best = min(best, time.perf_counter() - start)
    return best
