"""Batches with the numbers of their rows, so that what is known of a row can be found again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from paring.core.task import Batch, Batches, batch_size_of
from paring.data.batches import TensorBatches
from paring.errors import BatchError

Numbered = tuple[Tensor, Any, Any]


def numbered(data: Batches) -> Iterator[Numbered]:
    """(row numbers (b,), inputs, target) of one pass, in the order and with the random draws of the data itself.

    Takes `paring.batches`, a list of batches, or a DataLoader over a data set with rows.
    Raises: BatchError for data whose rows have no numbers.
    """
    if isinstance(data, TensorBatches):
        yield from data.numbered()
    elif isinstance(data, list | tuple):
        yield from _counted(data)
    elif isinstance(data, DataLoader) and _has_rows(data):
        yield from _loaded(data)
    else:
        raise BatchError(
            f"{type(data).__name__}: its rows have no numbers, so no answers can be kept for them. Give a DataLoader "
            "over a data set with rows, paring.batches(inputs, targets), or a list of batches."
        )


def in_order(data: Batches) -> Iterator[Batch]:
    """The batches of one pass from the first row to the last, whatever order the data itself draws."""
    if isinstance(data, TensorBatches):
        yield from replace(data, shuffle=False)
    elif isinstance(data, DataLoader) and _has_rows(data):
        size = data.batch_size or getattr(data.batch_sampler, "batch_size", 64)
        with torch.random.fork_rng(devices=[]):
            yield from DataLoader(
                data.dataset, batch_size=size, collate_fn=data.collate_fn, num_workers=data.num_workers
            )
    else:
        yield from ((inputs, target) for _, inputs, target in numbered(data))


def _has_rows(data: DataLoader[Any]) -> bool:
    return not isinstance(data.dataset, IterableDataset) and data.batch_sampler is not None


def _counted(data: list[Batch] | tuple[Batch, ...]) -> Iterator[Numbered]:
    first = 0
    for inputs, target in data:
        size = batch_size_of(inputs)
        yield torch.arange(first, first + size), inputs, target
        first += size


def _loaded(data: DataLoader[Any]) -> Iterator[Numbered]:
    loader = DataLoader(
        _Rows(data.dataset),
        batch_sampler=data.batch_sampler,
        collate_fn=_Collate(data.collate_fn),
        num_workers=data.num_workers,
        generator=data.generator,
    )
    yield from loader


class _Rows(torch.utils.data.Dataset[Any]):
    """(row number, item) of each row."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> tuple[int, Any]:
        return row, self.dataset[row]


class _Collate:
    """(row numbers, inputs, target), the latter two as the data's own collation makes them."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def __call__(self, rows: list[tuple[int, Any]]) -> Numbered:
        inputs, target = self.own([item for _, item in rows])
        return torch.tensor([row for row, _ in rows]), inputs, target
