"""A model repository for Triton Inference Server: `NAME/config.pbtxt` and `NAME/1/model.onnx`."""

from __future__ import annotations

from pathlib import Path

from paring.deploy.artifact import Shipment, copy_model
from paring.engines.protocol import InputSpec
from paring.serve.dtypes import name_of

MAX_BATCH = 32


def write_triton(ship: Shipment, out: Path) -> str:
    """Writes the repository, and returns how to start it."""
    copy_model(ship, out / ship.name / "1" / "model.onnx")
    (out / ship.name / "config.pbtxt").write_text(config(ship), encoding="utf-8")
    return f"tritonserver --model-repository={out}"


def config(ship: Shipment) -> str:
    """`config.pbtxt`. With batching, Triton's dims leave the first dimension out."""
    lines = [f'name: "{ship.name}"', 'backend: "onnxruntime"', f"max_batch_size: {MAX_BATCH if ship.batchable else 0}"]
    lines += [_tensor("input", spec, ship.batchable) for spec in ship.inputs]
    lines += [_tensor("output", spec, ship.batchable) for spec in ship.outputs]
    if ship.batchable:
        lines.append("dynamic_batching { max_queue_delay_microseconds: 0 }")
    lines.append("instance_group [ { kind: KIND_CPU count: 1 } ]")
    return "\n".join(lines) + "\n"


def _tensor(side: str, spec: InputSpec, batchable: bool) -> str:
    dims = [-1 if size is None else size for size in spec.shape or ()][1 if batchable else 0 :]
    told = f"dims: [ {', '.join(str(size) for size in dims or [1])} ]"
    squeezed = "" if dims else " reshape: { shape: [ ] }"
    return f'{side} [ {{ name: "{spec.name}" data_type: TYPE_{name_of(spec.dtype)} {told}{squeezed} }} ]'
