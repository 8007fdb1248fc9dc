"""Training from a teacher's answers on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from paring.core.task import Batches, Inputs, Task, batch_size_of
from paring.core.taught import Answers, TaughtBatches
from paring.data.numbered import in_order, numbered
from paring.errors import CorruptFileError, MissingError, RunFolderError
from paring.teach.cache import Head, inputs_digest, known_shard, load_shard, open_head, teacher_digest
from paring.teach.teach import shards_of


@final
@dataclass(frozen=True, eq=False)
class Taught(TaughtBatches):
    """The batches of `data`, each row's answers looked up in the shards, which are mapped and not read."""

    data: Batches
    folder: Path
    head: Head
    num_batches: int
    shards: tuple[dict[str, Tensor], ...] = field(repr=False)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[tuple[Inputs, Any]]:
        for _, inputs, target in numbered(self.data):
            yield inputs, target

    def lessons(self) -> Iterator[tuple[Inputs, Any, Answers]]:
        """See `TaughtBatches.lessons`."""
        for rows, inputs, target in numbered(self.data):
            layers = {layer: self._looked_up(f"layer/{layer}", rows) for layer in self.head.layers}
            yield inputs, target, Answers(self._looked_up("output", rows), layers)

    def check(self, teacher: nn.Module, layers: tuple[str, ...]) -> None:
        """See `TaughtBatches.check`. Raises RunFolderError or MissingError."""
        if teacher_digest(teacher) != self.head.teacher:
            raise RunFolderError(f"{self.folder}: holds another teacher's answers than task.model's. Teach again.")
        for layer in layers:
            if layer not in self.head.layers:
                kept = ", ".join(self.head.layers) or "none"
                raise MissingError(
                    f"{self.folder}: the objective looks at the teacher's {layer}, and kept are: {kept}. "
                    f"Teach again with --layer {layer}."
                )

    def _looked_up(self, name: str, rows: Tensor) -> Tensor:
        shard_of = rows // self.head.shard_rows
        first = self.shards[0][name]
        found = torch.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
        for number in sorted(set(shard_of.tolist())):
            here = shard_of == number
            found[here] = self.shards[number][name][rows[here] % self.head.shard_rows]
        return found


def taught(task: Task, folder: str | Path, *, thorough: bool = True) -> Task:
    """The task with training data that carry the answers in `folder`, so that its teacher need not run.

    Whatever trains on it learns what it would with the live teacher. With `thorough` every input row is held against
    what was taught, else the number of rows and the first shard's.
    Raises: RunFolderError for an unfinished cache, another teacher or other data; CorruptFileError for a damaged shard;
    BatchError for data whose rows have no numbers.
    """
    folder = Path(folder)
    if task.train is None:
        raise MissingError("taught: needs task.train, and the task has none. Give Task(train=...).")
    head = open_head(folder)
    shards = [known_shard(folder, number) for number in range(head.num_shards)]
    missing = [number for number, shard in enumerate(shards) if shard is None]
    if missing:
        raise RunFolderError(f"{folder}: {len(missing)} of {len(shards)} shards are missing. Run `paring teach` again.")
    sizes = [batch_size_of(inputs) for inputs, _ in in_order(task.train)]
    if sum(sizes) != head.num_rows:
        raise RunFolderError(f"{folder}: holds answers for {head.num_rows} rows, and task.train has {sum(sizes)}.")
    for number, inputs in enumerate(shards_of(in_order(task.train), head.shard_rows)):
        known = shards[number]
        assert known is not None
        if inputs_digest(inputs) != known.inputs:
            raise RunFolderError(
                f"{folder}: holds answers for other data than task.train (shard {number} of {len(shards)} differs). "
                "Teach again; data that change from pass to pass cannot be taught ahead."
            )
        if not thorough:
            break
    mapped = tuple(load_shard(folder, number) for number in range(head.num_shards))
    if sum(len(shard["output"]) for shard in mapped) != head.num_rows:
        raise CorruptFileError(f"{folder}: its shards do not hold {head.num_rows} rows. Teach again.")
    answers = Taught(task.train, folder, head, _num_batches(task.train, sizes), mapped)
    answers.check(task.model, ())
    return replace(task, train=answers)


def _num_batches(data: Batches, sizes: list[int]) -> int:
    return len(data) if isinstance(data, Sized) else len(sizes)
