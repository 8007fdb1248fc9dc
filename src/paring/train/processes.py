"""Several processes as one: each takes its share of every batch, and the gradients add up to the whole batch's.

The objective must be a mean over examples for that; relations within a batch are those within each share. Batch norms
see their share too.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Inputs, batch_size_of
from paring.data.rows import cut_rows
from paring.engines.processor import cpu_precisions


def quick_in_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; a processor without them takes ten times as long as in fp32."""
    if device.type == "cpu":
        return "bf16" in cpu_precisions()
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


@cache
def _leaves_at_exit() -> None:
    """Lets the others go before the interpreter ends.

    A thread of gloo's that frees a tensor after that aborts the process. It ends with its group, and the group with the
    last reference to it.
    """

    def leave() -> None:
        gc.collect()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    atexit.register(leave)


@dataclass(frozen=True)
class Processes:
    """What Accelerate knows of this process and the others."""

    accelerator: Any

    @classmethod
    def met(cls) -> Processes:
        """This process, and under `torchrun` the others."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            import_module("torch.distributed.nn.functional")  # its defaults keep the group for good if they find one
        from accelerate import Accelerator, DistributedDataParallelKwargs

        accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
        if accelerator.num_processes > 1:
            _leaves_at_exit()
        return cls(accelerator)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files."""
        return bool(self.accelerator.is_main_process)

    def share(self, inputs: Inputs, parts: Any) -> tuple[Any, float]:
        """(this process's rows of `parts`, weight): weights over all processes average 1."""
        if self.count == 1:
            return parts, 1.0
        rows, place = batch_size_of(inputs), int(self.accelerator.process_index)
        low, high = rows * place // self.count, rows * (place + 1) // self.count
        weight = (high - low) * self.count / rows
        chosen = slice(low, high) if high > low else slice(0, 1)  # fewer rows than processes: one row, weight 0
        return cut_rows(parts, chosen, rows), weight

    def mean(self, value: Tensor) -> float:
        """The mean of a number over the processes."""
        shared: Tensor = self.accelerator.reduce(value.detach().float(), reduction="mean") if self.count > 1 else value
        return shared.item()

    def average_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """For parameters outside the wrapped model: the objective's own."""
        if self.count > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")

    def agree_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gives parameters outside the wrapped model the first process's values."""
        if self.count > 1:
            from accelerate.utils import broadcast

            for parameter in parameters:
                parameter.data = broadcast(parameter.data)

    def agree_on_chance(self) -> None:
        """Gives torch's generator the first process's state, so that all draw one order."""
        if self.count > 1:
            from accelerate.utils import broadcast

            state = torch.random.get_rng_state().to(self.accelerator.device)
            torch.random.set_rng_state(broadcast(state).cpu())
