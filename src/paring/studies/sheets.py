"""What a study shows beside its rows: tables of its own, and charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from paring.report.html import Html
from paring.report.tables import NONE, Cell, table
from paring.report.words import digits


@dataclass(frozen=True)
class Sheet:
    """A table. `name` is its key in results.json and its file's name; `columns` are (key of a row, heading).

    A cell is a number, a text, None, or [figure, low, high]. `folder` is where its CSV lies.
    """

    name: str
    title: str
    note: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Mapping[str, Any], ...]
    folder: str = "other_figures"

    def csv(self) -> str:
        """The table for programs; an interval takes three columns."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        spread = {key for key, _ in self.columns if any(_is_interval(row.get(key)) for row in self.rows)}
        heads: list[str] = []
        for key, _ in self.columns:
            heads += [key, f"{key}_low", f"{key}_high"] if key in spread else [key]
        writer.writerow(heads)
        for row in self.rows:
            cells: list[Any] = []
            for key, _ in self.columns:
                value = row.get(key)
                if key not in spread:
                    cells.append("" if value is None else value)
                else:
                    cells += value if _is_interval(value) else ["" if value is None else value, "", ""]
            writer.writerow(cells)
        return text.getvalue()

    def texts(self) -> list[list[str]]:
        """The cells as they are read, without the headings."""
        return [[_text(row.get(key)) for key, _ in self.columns] for row in self.rows]

    def html(self) -> Html:
        """The table of the page."""
        words = [any(isinstance(row.get(key), str) for row in self.rows) for key, _ in self.columns]
        heads = [(head, left) for (_, head), left in zip(self.columns, words, strict=True)]
        rows = []
        for row, texts in zip(self.rows, self.texts(), strict=True):
            values = [row.get(key) for key, _ in self.columns]
            sorts = [value[0] if _is_interval(value) else value for value in values]
            cells = [Cell(text, sort, left) for text, sort, left in zip(texts, sorts, words, strict=True)]
            rows.append(("", cells))
        return table(self.title, heads, rows)


@dataclass(frozen=True)
class Chart:
    """Figures with their intervals, one a line, drawn as PNG to `path` under the study's folder.

    A bar is (name, figure, low, high); without an interval low and high equal the figure. `zero` draws from 0.
    """

    path: str
    title: str
    unit: str
    bars: tuple[tuple[str, float, float, float], ...]
    zero: bool = True


@dataclass(frozen=True)
class Looked:
    """What a part's look found: sheets, and by row name what joins that row's data (claims may read it)."""

    sheets: tuple[Sheet, ...] = ()
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __or__(self, other: Looked) -> Looked:
        """Both; where both know something of a row under the same key, what `other` knows."""
        names = dict.fromkeys([*self.more, *other.more])
        return Looked(
            (*self.sheets, *other.sheets),
            {name: {**self.more.get(name, {}), **other.more.get(name, {})} for name in names},
        )


def _is_interval(value: object) -> TypeGuard[Sequence[float]]:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3


def _text(value: Any) -> str:
    if value is None:
        return NONE
    if _is_interval(value):
        return f"{_number(value[0])} ({_number(value[1])} to {_number(value[2])})"
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else digits(value, 4)
