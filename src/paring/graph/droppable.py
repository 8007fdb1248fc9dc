"""Blocks that a model can run without: what enters them could leave them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring.core.task import Inputs, Task
from paring.errors import MissingError
from paring.graph.blocks import first_tensor
from paring.graph.edits.drop import Skip


@dataclass(frozen=True)
class Droppable:
    """A block by its module path; `in_tuple` says whether it answers a tuple of one tensor."""

    name: str
    in_tuple: bool


@torch.no_grad()
def droppable(model: nn.Module, task: Task, inputs: Inputs) -> list[Droppable]:
    """Members of a list or sequence of modules that hold layers and keep the shape of their first tensor.

    In `named_modules` order. Left out: blocks called more than once or never, blocks that answer more than one tensor,
    single layers, and blocks inside another one of these.
    """
    seen: dict[str, list[bool | None]] = {}
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        for name in candidates(model):

            def see(_module: nn.Module, args: Any, kwargs: Any, answer: Any, name: str = name) -> None:
                seen.setdefault(name, []).append(_keeps(first_tensor(args, kwargs), answer))

            stack.callback(model.get_submodule(name).register_forward_hook(see, with_kwargs=True).remove)
        task.predict(model, inputs)
    found = [(name, answers[0]) for name in candidates(model) if len(answers := seen.get(name, [])) == 1]
    return [Droppable(name, in_tuple) for name, in_tuple in found if in_tuple is not None]


def candidates(model: nn.Module) -> list[str]:
    """Members of ModuleList and Sequential that have layers of their own inside, the outermost ones."""
    found: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or any(name.startswith(f"{one}.") for one in found):
            continue
        for child, block in module.named_children():
            inside = [m for m in block.modules() if m is not block and any(True for _ in m.parameters(recurse=False))]
            if len(inside) > 1 and not isinstance(block, nn.ModuleList | nn.Sequential):
                found.append(f"{name}.{child}" if name else child)
    return found


def _keeps(x: Tensor | None, answer: Any) -> bool | None:
    """Whether the block answers a tuple; None if it does not keep the shape."""
    in_tuple = isinstance(answer, tuple)
    output = answer[0] if in_tuple and len(answer) == 1 else answer
    fits = x is not None and isinstance(output, Tensor) and output.shape == x.shape and output.dtype == x.dtype
    return in_tuple if fits else None


@torch.no_grad()
def similarities(model: nn.Module, task: Task, names: list[str]) -> dict[str, float]:
    """Mean cosine of what enters and what leaves each block, example by example, over the calibration data."""
    if task.calibration is None:
        raise MissingError("prune.layers: needs task.calibration, and the task has none. Give Task(calibration=...).")
    total, count = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        for name in names:

            def see(_module: nn.Module, args: Any, kwargs: Any, answer: Any, name: str = name) -> None:
                x = first_tensor(args, kwargs)
                y = answer[0] if isinstance(answer, tuple) else answer
                assert x is not None
                alike = F.cosine_similarity(x.flatten(1).double(), y.flatten(1).double(), dim=1)
                total[name] += float(alike.sum())
                count[name] += len(alike)

            stack.callback(model.get_submodule(name).register_forward_hook(see, with_kwargs=True).remove)
        for inputs, _ in task.calibration:
            task.predict(model, inputs)
    return {name: total[name] / max(count[name], 1) for name in names}


@contextmanager
def skipped(model: nn.Module, block: Droppable) -> Iterator[None]:
    """The model without the block, for as long as the context lasts."""
    module, skip = model.get_submodule(block.name), Skip(block.in_tuple)
    hook = module.register_forward_hook(lambda _m, args, kwargs, _a: skip(*args, **kwargs), with_kwargs=True)
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        hook.remove()
