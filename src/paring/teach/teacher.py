"""The teacher as it is asked: it can be sent to another process, and knows nothing of folders."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paring.core.task import Inputs, Task, call
from paring.core.taught import Answers
from paring.errors import BatchError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.watch import watch
from paring.teach.cache import packed

Shard = tuple[int, list[Inputs]]


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen copy of a task's model, what of its answer is kept, and the layers whose outputs are kept too."""

    model: nn.Module
    output: Callable[[Any], Tensor]
    layers: tuple[str, ...] = ()

    @torch.no_grad()
    def answer(self, inputs: list[Inputs], device: torch.device) -> bytes:
        """One shard's answers, `packed`. Raises BatchError for outputs whose shapes differ between batches."""
        outputs: list[Tensor] = []
        kept: dict[str, list[Tensor]] = {layer: [] for layer in self.layers}
        model = self.model.to(device)
        with watch(model, self.layers) as seen:
            for one in inputs:
                outputs.append(self.output(call(model, _moved(one, device))).cpu())
                for layer in self.layers:
                    if layer not in seen or len(seen[layer]) != len(outputs[-1]):
                        raise BatchError(f"teach: {layer} gives no float tensor with a row an example. Leave it out.")
                    kept[layer].append(seen[layer].cpu())
        layers = {layer: _joined(parts, layer) for layer, parts in kept.items()}
        return packed(Answers(_joined(outputs, "the output"), layers))


class Ask(Protocol):
    """Who puts the shards to the teacher: (number, what `Teacher.answer` gives), in any order."""

    def __call__(self, teacher: Teacher, shards: Iterable[Shard], /) -> Iterator[tuple[int, bytes]]: ...


def here(teacher: Teacher, shards: Iterable[Shard]) -> Iterator[tuple[int, bytes]]:
    """Asks in this process, on its GPU where there is one, a shard at a time."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for number, inputs in shards:
        yield number, teacher.answer(inputs, device)


def teacher_of(task: Task, layers: Sequence[str]) -> Teacher:
    """A frozen copy; its attention in plain Linears where a layer asked for is only there then.

    Raises: UnknownNameError for a layer that does not exist.
    """
    model = copy.deepcopy(task.model).eval().requires_grad_(False)
    names = {name for name, _ in model.named_modules()}
    if not set(layers) <= names:
        for edit in unfuse_all(model):
            model = edit.apply(model)
    with watch(model, layers):  # says which layer does not exist
        return Teacher(model, task.output, tuple(layers))


def _joined(parts: list[Tensor], what: str) -> Tensor:
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise BatchError(
            f"teach: {what} differs in shape between batches: {sorted(shapes)[:3]}. Pad all rows to one length, or "
            "leave the layer out."
        )
    return torch.cat(parts)


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    from accelerate.utils import send_to_device

    return send_to_device(inputs, device)  # type: ignore[no-any-return]
