"""The least time a file can take on this machine, operator by operator, and how far the clock is from it.

T >= sum over operators of max(MACs / peak, bytes / bandwidth) + call overhead.
Reference: Williams et al. 2009, doi 10.1145/1498765.1498785.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from paring.core.detail import Floor, OpFloor
from paring.core.target import Target
from paring.engines.protocol import Shapes
from paring.measure.onnx_modules import module_map
from paring.measure.onnx_shapes import load_onnx
from paring.measure.onnx_work import OpWork, work_of
from paring.measure.peaks import Peaks

FLOAT_BITS = {"fp32": 32, "bf16": 16, "fp16": 16}


def roofline(
    path: str | Path,
    target: Target,
    shapes: Shapes,
    measured_ms: float,
    peaks: Peaks,
    node_map: Mapping[str, str] | None = None,
) -> Floor:
    """The floor of the file at `path` on `target` for inputs of `shapes`, and `measured_ms` as a multiple of it.

    Weights are read from the nearest cache level that holds all of them together, since they come round once a call,
    in the precision the engine computes in;
    an operator's activations from the nearest that holds them.

    Args:
        node_map: node name -> module name, as the artifact's manifest has it.
    Raises: CorruptFileError, EngineError.
    """
    return floor_of(load_onnx(path), target, shapes, measured_ms, peaks, node_map)


def floor_of(
    model: onnx.ModelProto,
    target: Target,
    shapes: Shapes,
    measured_ms: float,
    peaks: Peaks,
    node_map: Mapping[str, str] | None = None,
) -> Floor:
    """The same of a file already read."""
    works = work_of(model, shapes, float_bits=FLOAT_BITS[target.precision])
    modules = module_map(model, node_map)
    resident = sum({name: size for work in works for name, size in work.weights.items()}.values())
    ops = tuple(_op_floor(work, target, peaks, resident, modules.get(work.name, "")) for work in works)
    overhead_ms = peaks.overhead_s.get(target.engine, 0.0) * 1e3
    floor_ms = sum(op.floor_ms for op in ops) + overhead_ms
    return Floor(floor_ms, overhead_ms, measured_ms / floor_ms if floor_ms else float("inf"), ops)


def _op_floor(work: OpWork, target: Target, peaks: Peaks, resident: float, module: str) -> OpFloor:
    kind = "int8" if work.compute == "int8" else target.precision
    # A type whose peak nobody measured is held against the fastest known, so that the floor stays a floor.
    peak = peaks.macs_per_s.get(kind, max(peaks.macs_per_s.values()))
    near, weights = peaks.level_of(work.activation_bytes), peaks.level_of(resident)
    memory = work.activation_bytes / near.bytes_per_s + work.weight_bytes / weights.bytes_per_s
    compute = work.macs / peak
    return OpFloor(
        op=work.name,
        kind=work.kind,
        module=module,
        macs=work.macs,
        bytes=int(work.activation_bytes + work.weight_bytes),
        compute_ms=compute * 1e3,
        memory_ms=memory * 1e3,
        bound="compute" if compute >= memory else "memory",
    )
