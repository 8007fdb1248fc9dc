"""Asks the teacher once, shard by shard; what is there already is not asked again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from paring.core.edit import Progress
from paring.core.task import Batch, Inputs, Task, batch_size_of
from paring.core.taught import Answers
from paring.data.numbered import in_order
from paring.data.rows import cut_rows
from paring.errors import BatchError, MissingError, SettingError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.watch import watch
from paring.teach.cache import Head, claim, known_shard, save_shard, teacher_digest

SHARD_ROWS = 8192


def teach(
    task: Task,
    folder: str | Path,
    layers: Sequence[str] = (),
    *,
    shard_rows: int = SHARD_ROWS,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Progress]:
    """Writes `task.model`'s answers on `task.train` into `folder`, reporting each shard; goes on where it was killed.

    Args:
        layers: module names whose outputs are kept too, for objectives that look inside.
        part: (i, n) does only every nth shard from the ith on, so that n machines share the work.
    Raises: MissingError without training data; RunFolderError for a folder of other answers; UnknownNameError for a
        layer that does not exist; BatchError for outputs whose shapes differ between batches.
    """
    folder = Path(folder)
    if task.train is None:
        raise MissingError("teach: needs task.train, and the task has none. Give Task(train=...).")
    if shard_rows < 1 or not 0 <= part[0] < part[1]:
        raise SettingError(f"teach: shard_rows is {shard_rows}, part {part}; at least 1, and i of n from 0 to n - 1.")
    teacher = _still(task.model, layers)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    num_rows = sum(batch_size_of(inputs) for inputs, _ in in_order(task.train))
    head = Head(teacher_digest(task.model), tuple(layers), num_rows, shard_rows, task.name)
    claim(folder, head)
    done = 0
    for number, inputs in enumerate(shards_of(in_order(task.train), shard_rows)):
        if number % part[1] != part[0]:
            continue
        known = known_shard(folder, number)
        if known is None:
            save_shard(folder, number, _answers(task, teacher.to(device), inputs, head.layers, device), inputs)
        done += sum(batch_size_of(one) for one in inputs)
        yield Progress(done, num_rows, f"shard {number + 1}/{head.num_shards}" + ("" if known is None else ", there"))


def shards_of(data: Iterator[Batch], shard_rows: int) -> Iterator[list[Inputs]]:
    """Inputs of `shard_rows` rows a shard, the last may be shorter; a batch may be cut in two."""
    held: list[Inputs] = []
    count = 0
    for inputs, _ in data:
        size, first = batch_size_of(inputs), 0
        while first < size:
            last = min(size, first + shard_rows - count)
            held.append(cut_rows(inputs, slice(first, last), size))
            count, first = count + last - first, last
            if count == shard_rows:
                yield held
                held, count = [], 0
    if held:
        yield held


@torch.no_grad()
def _answers(
    task: Task, teacher: nn.Module, inputs: list[Inputs], layers: tuple[str, ...], device: torch.device
) -> Answers:
    outputs: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with watch(teacher, layers) as seen:
        for one in inputs:
            outputs.append(task.predict(teacher, _moved(one, device)).cpu())
            for layer in layers:
                if layer not in seen or len(seen[layer]) != len(outputs[-1]):
                    raise BatchError(f"teach: {layer} gives no float tensor with a row an example. Leave it out.")
                kept[layer].append(seen[layer].cpu())
    return Answers(_joined(outputs, "the output"), {layer: _joined(parts, layer) for layer, parts in kept.items()})


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


def _still(model: nn.Module, layers: Sequence[str]) -> nn.Module:
    """A frozen copy; its attention in plain Linears where a layer asked for is only there then."""
    teacher = copy.deepcopy(model).eval().requires_grad_(False)
    names = {name for name, _ in teacher.named_modules()}
    if not set(layers) <= names:
        for edit in unfuse_all(teacher):
            teacher = edit.apply(teacher)
    with watch(teacher, layers):  # says which layer does not exist
        return teacher
