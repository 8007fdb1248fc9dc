"""How files are measured: where, on what inputs, for how long."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from paring.core.target import Device, EngineName, Target
from paring.core.task import Inputs, Task, tensors_of
from paring.engines import devices, installed_engines, precisions
from paring.errors import EngineError


@dataclass(frozen=True)
class Bench:
    """On which engines, with how many threads and at which batch size files are timed, and for how long.

    `torch` stands for PyTorch eager, which is timed for comparison and never chosen: it runs no file. Throughput is
    also measured with as many processes side by side as `processes` lists.
    """

    engines: tuple[EngineName, ...] = ("onnxruntime", "openvino", "torch")
    device: Device = "cpu"
    threads: int = 1
    batch_size: int = 1
    blocks: int = 40
    min_block_ms: float = 5.0
    processes: tuple[int, ...] = (1,)

    def targets(self) -> tuple[Target, ...]:
        """Every Target a file runs on here: installed engines x the precisions this processor has.

        Raises: EngineError if none of the engines is installed, or none of them finds the device.
        """
        found = tuple(
            Target(engine, precision, self.threads, self.batch_size, self.device, static_shapes=engine == "openvino")
            for engine in self.engines
            if engine in installed_engines() and engine != "torch"
            for precision in precisions(engine)
        )
        if not found:
            wanted = ", ".join(self.engines)
            raise EngineError(f"none of the engines {wanted} runs files here. Run: pip install onnxruntime openvino")
        if not any(self.device in devices(target.engine) for target in found):
            wanted = ", ".join(dict.fromkeys(target.engine for target in found))
            raise EngineError(f"not measured: no GPU: {wanted} finds none for device {self.device!r} here. Use cpu.")
        return found

    def conditions(self) -> dict[str, object]:
        """What must agree for two measurements to stand in one table."""
        return {
            "engines": list(self.engines),
            "device": self.device,
            "threads": self.threads,
            "batch_size": self.batch_size,
        }


def timed_inputs(task: Task, batch_size: int) -> Inputs:
    """Real inputs of exactly `batch_size` rows: the task's first, repeated where there are too few."""
    inputs, _ = next(iter(task.real_inputs()))
    sized = {name: _rows(tensor, batch_size) for name, tensor in tensors_of(inputs).items()}
    if isinstance(inputs, Tensor):
        return sized["inputs"]
    if isinstance(inputs, tuple | list):
        return tuple(sized.get(f"inputs[{i}]", value) for i, value in enumerate(inputs))
    return {name: sized.get(name, value) for name, value in inputs.items()}


def _rows(tensor: Tensor, count: int) -> Tensor:
    return tensor[torch.arange(count) % len(tensor)].contiguous()
