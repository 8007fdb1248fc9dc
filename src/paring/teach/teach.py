"""Asks the teacher once, shard by shard; what is there already is not asked again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from paring.core.edit import Progress
from paring.core.task import Batch, Inputs, Task, batch_size_of
from paring.data.numbered import in_order
from paring.data.rows import cut_rows
from paring.errors import MissingError, SettingError
from paring.teach.cache import Head, claim, inputs_digest, known_shard, save_shard, teacher_digest
from paring.teach.teacher import Ask, Shard, here, teacher_of

SHARD_ROWS = 8192


def teach(
    task: Task,
    folder: str | Path,
    layers: Sequence[str] = (),
    *,
    shard_rows: int = SHARD_ROWS,
    part: tuple[int, int] = (0, 1),
    ask: Ask = here,
) -> Iterator[Progress]:
    """Writes `task.model`'s answers on `task.train` into `folder`, reporting each shard; goes on where it was killed.

    Args:
        layers: module names whose outputs are kept too, for objectives that look inside.
        part: (i, n) does only every nth shard from the ith on, so that n machines share the work.
        ask: who asks: this process, or `RayTeachers` (`paring.teach.on_ray`) a cluster.
    Raises: MissingError without training data; RunFolderError for a folder of other answers; UnknownNameError for a
        layer that does not exist; BatchError for outputs whose shapes differ between batches.
    """
    folder = Path(folder)
    if task.train is None:
        raise MissingError("teach: needs task.train, and the task has none. Give Task(train=...).")
    if shard_rows < 1 or not 0 <= part[0] < part[1]:
        raise SettingError(f"teach: shard_rows is {shard_rows}, part {part}; at least 1, and i of n from 0 to n - 1.")
    teacher = teacher_of(task, layers)
    num_rows = sum(batch_size_of(inputs) for inputs, _ in in_order(task.train))
    head = Head(teacher_digest(task.model), tuple(layers), num_rows, shard_rows, task.name)
    claim(folder, head)
    asked = range(part[0], head.num_shards, part[1])
    known = {number: shard for number in asked if (shard := known_shard(folder, number)) is not None}
    done = 0
    for number, shard in known.items():
        done += shard.rows
        yield Progress(done, num_rows, f"shard {number + 1}/{head.num_shards}, there")
    handed: dict[int, tuple[int, str]] = {}  # of those asked: rows, and the digest of their inputs

    def missing() -> Iterator[Shard]:
        for number, inputs in enumerate(shards_of(in_order(task.train or ()), shard_rows)):
            if number in asked and number not in known:
                handed[number] = sum(batch_size_of(one) for one in inputs), inputs_digest(inputs)
                yield number, inputs

    if len(known) == len(asked):
        return
    for number, data in ask(teacher, missing()):
        rows, digest = handed.pop(number)
        save_shard(folder, number, data, rows, digest)
        done += rows
        yield Progress(done, num_rows, f"shard {number + 1}/{head.num_shards}")


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
