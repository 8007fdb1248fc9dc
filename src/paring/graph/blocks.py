"""Blocks in a row: modules called one after another, each fed by the one before and by nothing else that changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import call


@dataclass(frozen=True)
class Blocks:
    """Names of the modules in the row, and for each layer inside exactly one of them its place in the row."""

    names: tuple[str, ...]
    places: dict[str, int]

    def index_of(self, layer: str) -> int | None:
        """In which block `layer` is called, None if in none or not only there."""
        return self.places.get(layer)


@dataclass(frozen=True)
class _Call:
    name: str
    parent: str
    taken: tuple[int, int] | None  # identity and version of the first float tensor
    given: tuple[int, int] | None
    besides: frozenset[int]  # identities of the other tensors


@torch.no_grad()
def find_blocks(model: nn.Module, inputs: Any) -> tuple[Blocks | None, dict[str, int]]:
    """(the row that covers most layers or None, number of calls of every module in the order reached).

    Found by identity on one forward: a row is children of one parent, each called once, each taking the very tensor
    that the one before gave, and no other tensor that the first one did not take too.
    """
    calls, alive = _record(model, inputs)
    counts: dict[str, int] = {}
    for one in calls:
        counts[one.name] = counts.get(one.name, 0) + 1
    rows = [row for row in _rows(calls, counts) if len(row) > 1]
    del alive
    if not rows:
        return None, counts
    holders = {name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))}

    def inside(row: Sequence[str]) -> int:
        return sum(1 for layer in holders for name in row if layer == name or layer.startswith(f"{name}."))

    longest: list[str] = max(rows, key=lambda row: (inside(row), len(row)))
    names = tuple(longest)
    # A module that stands in the tree twice is called under its first name, perhaps from elsewhere: left out.
    twice = {name for module in model.modules() for name in _other_names(model, module)}
    places = {
        one.name: place
        for place, name in enumerate(names)
        for one in calls
        if (one.name == name or one.name.startswith(f"{name}.")) and one.name not in twice
    }
    return Blocks(names, places), counts


def first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any], *, floating: bool = True) -> Tensor | None:
    """The first (float) tensor among the arguments of a call."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and (not floating or value.is_floating_point()):
            return value
    return None


def _other_names(model: nn.Module, module: nn.Module) -> list[str]:
    names = [name for name, other in model.named_modules(remove_duplicate=False) if other is module]
    return names if len(names) > 1 else []


def _record(model: nn.Module, inputs: Any) -> tuple[list[_Call], list[Tensor]]:
    calls: list[_Call] = []
    stack_of_names: list[tuple[str, tuple[int, int] | None, frozenset[int], int]] = []
    alive: list[Tensor] = []  # so that no identity is given out twice

    def enter(name: str) -> Any:
        def hook(_m: nn.Module, args: Any, kwargs: Any) -> None:
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            alive.extend(tensors)
            x = first_tensor(args, kwargs)
            besides = frozenset(id(tensor) for tensor in tensors if tensor is not x)
            stack_of_names.append((name, None if x is None else (id(x), x._version), besides, len(calls)))
            calls.append(_Call(name, "", None, None, frozenset()))

        return hook

    def leave(_m: nn.Module, _args: Any, answer: Any) -> None:
        name, taken, besides, place = stack_of_names.pop()
        output = answer[0] if isinstance(answer, tuple) and answer else answer
        given = None
        # More than one tensor out means that something besides the stream is handed on.
        alone = not isinstance(answer, tuple) or sum(isinstance(value, Tensor) for value in answer) == 1
        if isinstance(output, Tensor) and alone:
            alive.append(output)
            given = (id(output), output._version)
        parent = stack_of_names[-1][0] if stack_of_names else ""
        calls[place] = _Call(name, parent if stack_of_names else "(none)", taken, given, besides)

    was_training = model.training
    model.eval()
    with ExitStack() as stack:
        stack.callback(model.train, was_training)
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(enter(name), with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        call(model, inputs)
    return calls, alive


def _rows(calls: list[_Call], counts: dict[str, int]) -> list[list[str]]:
    by_parent: dict[str, list[_Call]] = {}
    for one in calls:
        by_parent.setdefault(one.parent, []).append(one)
    rows: list[list[str]] = []
    for parent, siblings in by_parent.items():
        if counts.get(parent, 1) > 1:
            continue
        row: list[_Call] = []
        for one in siblings:
            follows = (
                bool(row) and one.taken is not None and one.taken == row[-1].given and one.besides <= row[0].besides
            )
            if not follows:
                row = []
            if one.taken is None or counts[one.name] > 1:
                row = []
                continue
            row.append(one)
            if len(row) == 1:
                rows.append([])
            rows[-1].append(one.name)
    return rows
