"""Places of a network where its inner answer can be compared with another's, and which place matches which."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Task
from paring.graph.blocks import find_blocks
from paring.graph.sites import submodule
from paring.graph.watch import first_output

CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)
CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Stage:
    """A module whose output is looked at: `depth` in (0, 1], the share of weighted layers run by then.

    `positions` is the output's shape without batch and channels: () for (b, c), (h, w) for maps, (t,) for tokens.
    """

    layer: str
    depth: float
    positions: tuple[int, ...]
    channels: int
    channel_dim: int


@torch.no_grad()
def stages(model: nn.Module, task: Task) -> list[Stage]:
    """In the order in which they finish; blocks in a row where the model has them, else layers without children.

    Of several modules that finish after equally many weighted layers with one shape, the last counts. What the model
    answers in the end is left out.
    """
    calls: dict[str, int] = {}
    finished: list[Stage] = []
    weighted = 0
    last_kind: list[bool] = [False]
    was_training = model.training

    def see(name: str, module: nn.Module) -> Any:
        has_weights = any(True for _ in module.parameters(recurse=False))

        def hook(_module: nn.Module, _args: Any, answer: Any) -> None:
            nonlocal weighted
            weighted += has_weights
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, CHANNELS_FIRST):
                last_kind[0] = True
            elif isinstance(module, CHANNELS_LAST):
                last_kind[0] = False
            tensor = first_output(answer)
            if tensor is not None and tensor.ndim >= 2 and name:
                dim = channel_dim_of(tensor, channels_first=last_kind[0])
                finished.append(_stage(name, weighted, tensor, dim))

        return hook

    with ExitStack() as stack:
        stack.callback(model.train, was_training)
        model.eval()
        for name, module in model.named_modules():
            stack.callback(module.register_forward_hook(see(name, module)).remove)
        task.predict(model, task.example_inputs)
    total = max(weighted, 1)
    wanted = set(_blocks(model, task)) or {name for name, module in model.named_modules() if not any(module.children())}
    latest: dict[tuple[float, tuple[int, ...], int], Stage] = {}
    for one in finished:
        if one.layer in wanted and calls[one.layer] == 1 and one.depth < total:
            latest[one.depth, one.positions, one.channels] = one
    return [
        Stage(one.layer, one.depth / total, one.positions, one.channels, one.channel_dim) for one in latest.values()
    ]


def channel_dim_of(tensor: Tensor, *, channels_first: bool) -> int:
    """Which dimension of a layer's output holds its channels."""
    return 1 if tensor.ndim == 2 or channels_first else tensor.ndim - 1


def layout_of(model: nn.Module, layer: str, tensor: Tensor) -> int:
    """The channel dimension of what `layer` gave: the first behind the batch for maps, the last for tokens."""
    inside = [m for m in submodule(model, layer).modules() if isinstance(m, (*CHANNELS_FIRST, *CHANNELS_LAST))]
    if inside:
        return channel_dim_of(tensor, channels_first=isinstance(inside[-1], CHANNELS_FIRST))
    return channel_dim_of(tensor, channels_first=tensor.ndim >= 4)


def matched(
    student: Sequence[Stage], teacher: Sequence[Stage], *, with_positions: bool = False
) -> list[tuple[str, str]]:
    """(student layer, teacher layer) of like places: equal positions, nearest in depth.

    Blocks in a row are matched one by one; of other layers the deepest of each shape. `with_positions` leaves out what
    has none. Maps that are never of one size are matched by depth, since they can be pooled.
    """
    pairs: list[tuple[str, str]] = []
    student, teacher = _chosen(student), _chosen(teacher)
    for one in student:
        if with_positions and not one.positions:
            continue
        alike = [other for other in teacher if other.positions == one.positions]
        maps = [other for other in teacher if len(other.positions) == len(one.positions) > 1]
        found = alike or maps
        if found:
            pairs.append((one.layer, min(found, key=lambda other: (abs(other.depth - one.depth), -other.depth)).layer))
    return pairs


def _chosen(found: Sequence[Stage]) -> Sequence[Stage]:
    parents = {one.layer.rpartition(".")[0] for one in found}
    in_a_row = len(parents) == 1 and len({(one.positions, one.channels) for one in found}) == 1
    if in_a_row:
        return found
    deepest = {one.positions: one for one in found}
    return list(deepest.values())


def _stage(name: str, weighted: int, tensor: Tensor, dim: int) -> Stage:
    positions = tuple(size for place, size in enumerate(tensor.shape) if place not in (0, dim))
    return Stage(name, weighted, positions, tensor.shape[dim], dim)


def _blocks(model: nn.Module, task: Task) -> list[str]:
    """The members of the row, if each holds several weighted layers."""
    row, _ = find_blocks(model, task.example_inputs)
    if row is None:
        return []
    holders = [
        sum(any(True for _ in m.parameters(recurse=False)) for m in model.get_submodule(name).modules())
        for name in row.names
    ]
    return list(row.names) if min(holders) > 1 else []
