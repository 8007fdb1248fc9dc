"""Where the time goes in PyTorch eager, by module."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from paring.core.target import Target
from paring.core.task import Inputs, Task
from paring.measure.eager import torch_threads
from paring.measure.profile import OpTime, Profile

MARK = "paring.module:"
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces itself on stderr


def profile_eager(task: Task, model: nn.Module, inputs: Inputs, *, threads: int = 1, calls: int = 10) -> Profile:
    """`model` on `inputs`: every operator's own time, under the innermost module that ran it; mean over `calls`.

    The model is left in the mode it was in.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        return _profiled(task, model, inputs, threads, calls)
    finally:
        for module, was in training.items():
            module.training = was


def _profiled(task: Task, model: nn.Module, inputs: Inputs, threads: int, calls: int) -> Profile:
    with torch_threads(threads), torch.inference_mode(), _marked(model):
        task.predict(model, inputs)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            start = time.perf_counter()
            for _ in range(calls):
                task.predict(model, inputs)
            passed = time.perf_counter() - start
    ops: dict[tuple[str, str], float] = {}
    for event in seen.events():
        if event.name.startswith((MARK, "ProfilerStep", "cudaDevice")):
            continue
        key = event.name, _module_of(event)
        ops[key] = ops.get(key, 0.0) + event.self_cpu_time_total / 1e3 / calls
    times = tuple(OpTime(kind, kind, module, ms) for (kind, module), ms in ops.items())
    return Profile("eager", Target("torch", threads=threads), passed * 1e3 / calls, times)


def _module_of(event: Any) -> str:
    while event is not None:
        if event.name.startswith(MARK):
            return str(event.name).removeprefix(MARK)
        event = event.cpu_parent
    return ""


@contextmanager
def _marked(model: nn.Module) -> Iterator[None]:
    """Brackets every module's forward with a named range, and takes the brackets off again."""
    open_ranges: list[Any] = []
    handles = []

    def enter(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            mark = record_function(MARK + name)
            mark.__enter__()  # type: ignore[no-untyped-call]
            open_ranges.append(mark)

        return hook

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        if name:
            handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        while open_ranges:  # a forward that failed left them open
            open_ranges.pop().__exit__(None, None, None)
        for handle in handles:
            handle.remove()
