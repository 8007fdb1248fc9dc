"""Tables of a conversion log as tensors: categories as numbers, quantities standardised."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

import torch
from torch import Tensor

from paring.errors import CorruptFileError


@dataclass(frozen=True)
class Table:
    """`categories` (n, columns) int64, each column's values numbered in sorted order; `numbers` (n, columns) float32.

    `sizes` are how many values each category has; `targets` maps a label's name to (n,) float32.
    """

    categories: Tensor
    numbers: Tensor
    sizes: tuple[int, ...]
    targets: dict[str, Tensor]
    category_names: tuple[str, ...]
    number_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.categories)

    def rows(self, chosen: Tensor, scaled_by: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(categories, numbers) of the rows `chosen`, numbers standardised by the rows `scaled_by`, else by these.

        Heavy tails are drawn in first: sign(x) log(1 + |x|).
        """
        squeezed = self.numbers.sign() * self.numbers.abs().log1p()
        basis = squeezed[chosen if scaled_by is None else scaled_by]
        return self.categories[chosen], (squeezed[chosen] - basis.mean(0)) / basis.std(0).clamp_min(1e-6)


def read_table(
    text: str, where: str, *, categories: Sequence[str], numbers: Sequence[str], labels: dict[str, str], delimiter: str
) -> Table:
    """The table in a CSV text. `labels` maps a column to the text that counts as 1; "" means the number itself.

    Raises: CorruptFileError for a missing column or a cell that is no number.
    """
    records = list(csv.DictReader(StringIO(text), delimiter=delimiter))
    wanted = (*categories, *numbers, *labels)
    if not records or (missing := [name for name in wanted if name not in records[0]]):
        raise CorruptFileError(f"{where}: the columns {missing if records else list(wanted)} are missing.")
    columns, sizes = [], []
    for name in categories:
        values = sorted({record[name] for record in records})
        number = {value: place for place, value in enumerate(values)}
        columns.append([number[record[name]] for record in records])
        sizes.append(len(values))
    try:
        cells = [[float(record[name]) for record in records] for name in numbers]
        targets = {
            name: torch.tensor([float(one[name]) if not yes else float(one[name] == yes) for one in records])
            for name, yes in labels.items()
        }
    except ValueError as error:
        raise CorruptFileError(f"{where}: {error}. Fetch the file again.") from error
    return Table(
        torch.tensor(columns).T.contiguous(),
        torch.tensor(cells).T.contiguous(),
        tuple(sizes),
        targets,
        tuple(categories),
        tuple(numbers),
    )
