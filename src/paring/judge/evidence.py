"""What stands behind a file's headline figures: memory over time, the floor, throughput side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paring.core.detail import Floor, MemoryUse, Throughput
from paring.core.target import Target
from paring.engines.protocol import Arrays
from paring.errors import ParingError
from paring.judge.bench import Bench
from paring.measure.canary import CANARY, drift
from paring.measure.memory import memory_use
from paring.measure.onnx_modules import saved_node_map
from paring.measure.peaks import known_peaks
from paring.measure.roofline import roofline
from paring.measure.samples import Samples
from paring.measure.throughput import pool_throughput


@dataclass(frozen=True)
class Evidence:
    """Of one file on the Target where it is fastest. `floor` is None until `paring machine` has measured the peaks."""

    memory: MemoryUse
    floor: Floor | None
    throughput: tuple[Throughput, ...]
    drift: float | None


def evidence(path: Path, target: Target, inputs: Arrays, samples: Samples, bench: Bench) -> Evidence:
    """Measures memory in a fresh process and throughput in as many as the bench says. Raises EngineError."""
    name = str(target)
    one = Throughput(
        target.batch_size,
        target.threads,
        1,
        samples.throughput_per_s(name, target.batch_size),
        samples.cpu_ms(name) / target.batch_size,
    )
    pools = [pool_throughput(path, target, inputs, processes) for processes in bench.processes if processes > 1]
    return Evidence(
        memory=memory_use(path, target, inputs),
        floor=file_floor(path, target, inputs, samples.latency_ms(name)["p50"]),
        throughput=(one, *pools),
        drift=drift(samples) if CANARY in samples.names else None,
    )


def file_floor(path: Path, target: Target, inputs: Arrays, measured_ms: float) -> Floor | None:
    """The file's floor against the peaks known of this machine; None where none are, or the file defies analysis."""
    peaks = known_peaks(target.threads)
    if peaks is None or target.device != "cpu":
        return None
    shapes = {name: tuple(array.shape) for name, array in inputs.items()}
    try:
        return roofline(path, target, shapes, measured_ms, peaks, saved_node_map(path))
    except ParingError:
        return None
