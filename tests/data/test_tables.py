"""The conversion logs: their sizes and rates, and tables that are not what they should be."""

from __future__ import annotations

import pytest
import torch

from paring.data.conversions import bank_marketing, hillstrom, online_shoppers
from paring.data.tables import Table, read_table
from paring.errors import CorruptFileError, TaskError

COLUMNS = {"categories": ("colour",), "numbers": ("size",), "labels": {"bought": "yes"}, "delimiter": ","}


@pytest.mark.parametrize(
    ("load", "label", "num_rows", "total"),
    [
        (online_shoppers, "Revenue", 12_330, 1_908),
        (bank_marketing, "y", 41_188, 4_640),
        (hillstrom, "visit", 64_000, 9_394),
        (hillstrom, "conversion", 64_000, 578),
    ],
)
def test_the_published_counts(load, label, num_rows, total) -> None:  # type: ignore[no-untyped-def]
    try:
        table: Table = load()
    except TaskError as error:
        pytest.skip(str(error))
    assert len(table) == num_rows
    assert table.targets[label].sum().item() == total
    assert table.categories.shape == (num_rows, len(table.sizes))
    assert (table.categories.max(0).values + 1).tolist() == list(table.sizes)
    assert torch.isfinite(table.numbers).all()


def test_a_table_is_numbered_in_sorted_order_and_scaled_by_the_rows_asked_for() -> None:
    table = read_table("colour,size,bought\nred,0,yes\nblue,3,no\nred,-3,no\n", "here", **COLUMNS)  # type: ignore[arg-type]
    assert table.categories.tolist() == [[1], [0], [1]] and table.sizes == (2,)
    assert table.targets["bought"].tolist() == [1, 0, 0]
    _, numbers = table.rows(torch.tensor([0, 1, 2]))
    assert numbers.mean().item() == pytest.approx(0, abs=1e-6) and numbers.std().item() == pytest.approx(1, rel=1e-5)
    _, numbers = table.rows(torch.tensor([2]), scaled_by=torch.tensor([0, 1]))
    half = torch.tensor(4.0).log() / 2
    expected = (-2 * half - half) / torch.tensor([0.0, 2 * half]).std()
    assert numbers.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("text", ["colour,size\nred,1\n", "colour,size,bought\nred,tall,yes\n", ""])
def test_a_table_of_another_kind_is_refused(text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CorruptFileError, match="here"):
        read_table(text, "here", **COLUMNS)
