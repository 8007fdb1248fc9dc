"""Batches from tensors already in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from paring.errors import BatchError, SettingError

InMemory = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TensorBatches:
    """Re-iterable batches of `inputs` and `targets`; shuffled anew in each pass when `shuffle` is set.

    Shuffling draws from torch's global generator, so a seeded run repeats to the digit.
    """

    inputs: InMemory
    targets: Tensor
    batch_size: int
    shuffle: bool = False

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[InMemory, Tensor]]:
        for _, inputs, targets in self.numbered():
            yield inputs, targets

    def numbered(self) -> Iterator[tuple[Tensor, InMemory, Tensor]]:
        """(row numbers, inputs, targets) of each batch."""
        n = len(self.targets)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for rows in torch.split(order, self.batch_size):
            yield rows, _take(self.inputs, rows), self.targets[rows]


def batches(inputs: InMemory, targets: Tensor, batch_size: int = 128, *, shuffle: bool = False) -> TensorBatches:
    """`(inputs, target)` batches over tensors in memory: inputs (n, ...), targets (n, ...).

    Raises: SettingError for a batch size below 1, BatchError for lengths that differ or no rows.
    Example: `batches(x, y, 64)` with x (1000, 8) gives 16 batches, the last of 40.
    """
    if batch_size < 1:
        raise SettingError(f"batches: batch_size is {batch_size}; it must be at least 1.")
    parts = (
        (inputs,) if isinstance(inputs, Tensor) else tuple(inputs.values() if isinstance(inputs, Mapping) else inputs)
    )
    lengths = {len(part) for part in parts} | {len(targets)}
    if len(lengths) != 1 or 0 in lengths:
        raise BatchError(f"batches: inputs and targets have lengths {sorted(lengths)}; they must agree and be above 0.")
    return TensorBatches(inputs, targets, batch_size, shuffle)


def _take(inputs: InMemory, rows: Tensor) -> InMemory:
    if isinstance(inputs, Tensor):
        return inputs[rows]
    if isinstance(inputs, Mapping):
        return {name: tensor[rows] for name, tensor in inputs.items()}
    return tuple(tensor[rows] for tensor in inputs)
