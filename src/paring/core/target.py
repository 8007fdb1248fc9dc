"""Where a file will run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from paring.errors import SettingError, UnknownNameError

EngineName = Literal["onnxruntime", "openvino", "torch"]
Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Target:
    """One way to run a file: engine, device, compute precision, threads and batch size.

    `precision` is what the engine computes the float part in; integer layers stay integers under each. With
    `static_shapes` the file's free dimensions are fixed at load to the shape that is timed.
    """

    engine: EngineName = "onnxruntime"
    precision: Precision = "fp32"
    threads: int = 1
    batch_size: int = 1
    device: Device = "cpu"
    static_shapes: bool = False

    def __post_init__(self) -> None:
        for kind, value, allowed in (
            ("engine", self.engine, get_args(EngineName)),
            ("precision", self.precision, get_args(Precision)),
            ("device", self.device, get_args(Device)),
        ):
            if value not in allowed:
                raise UnknownNameError(kind, value, allowed, "Target")
        for name in ("threads", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"Target: {name} is {getattr(self, name)}; it must be at least 1.")

    def __str__(self) -> str:
        text = f"{self.engine} {self.precision}"
        return text if self.device == "cpu" else f"{text} {self.device}"
