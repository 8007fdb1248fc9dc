"""A study's own page: its rows, and each figure of the source beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from paring.report.html import Html, join, tag
from paring.report.tables import NONE, Cell, table
from paring.report.words import scaled
from paring.studies.sheets import Sheet

Rows = Sequence[Mapping[str, Any]]
HEADS = [
    ("row", True), ("of", True), ("metric", False), ("drop", False), ("train - test", False), ("file", False),
    ("times smaller", False), ("coded", False), ("median ms", False), ("times as fast", False),
    ("times as fast as eager", False), ("verdict", True), ("on", True),
]  # fmt: skip
MET = {True: "met", False: "not met", None: "not run"}


@dataclass(frozen=True)
class Page:
    """What a study's page shows; `figures` are paths of PNGs beside it."""

    title: str
    about: str
    rows: Rows
    claims: Rows
    command: str
    sheets: tuple[Sheet, ...] = ()
    figures: tuple[str, ...] = ()


def study_markdown(page: Page) -> str:
    """The page for a terminal or a pull request."""
    lines = [f"# {page.title}", "", page.about, "", f"Command: `{page.command}`.", ""]
    lines += _lines([head for head, _ in HEADS], [_texts(row, page.rows) for row in page.rows])
    for sheet in page.sheets:
        lines += ["", f"## {sheet.title}", "", sheet.note, ""]
        lines += _lines([head for _, head in sheet.columns], sheet.texts())
    if page.claims:
        cells = [[one["row"], one["source"], one["ours"] or NONE, MET[one["met"]]] for one in page.claims]
        lines += ["", "## Beside the source", "", *_lines(["row", "the source says", "here", ""], cells)]
    lines += ["", *(f"![{figure}]({figure})" for figure in page.figures)] if page.figures else []
    return "\n".join(lines) + "\n"


def study_page(page: Page) -> str:
    """The page, without network; the PNGs lie beside it, each part's own report in its folder."""
    parts = dict.fromkeys(str(row["part"]) for row in page.rows)
    links = [tag("li", tag("a", part, href=f"{part.replace(' ', '-')}/report.html")) for part in parts]
    sheets = [tag("section", tag("h2", one.title), tag("p", one.note), one.html()) for one in page.sheets]
    figures = [Html(f'<p><img src="{one}" alt="{one}" style="max-width:100%"></p>') for one in page.figures]
    body = tag(
        "body",
        tag("header", tag("p", tag("b", "Paring"), " study", class_="brand"), tag("h1", page.title, class_="verdict")),
        tag(
            "main",
            tag("p", page.about, class_="lead"),
            tag("section", tag("h2", "Every row"), _table(page.rows)),
            *sheets,
            tag("section", tag("h2", "Beside the source"), _claims(page.claims)) if page.claims else None,
            tag("section", tag("h2", "Figures"), *figures) if figures else None,
            tag("section", tag("h2", "Each part in full"), tag("ul", *links)),
            tag("section", tag("h2", "How to reproduce"), tag("pre", tag("code", page.command))),
        ),
        tag("script", Html((files("paring.report") / "assets" / "page.js").read_text(encoding="utf-8"))),
    )
    style = (files("paring.report") / "assets" / "page.css").read_text(encoding="utf-8")
    head = join(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
        tag("title", page.title),
        tag("style", Html(style)),
    )
    return f'<!doctype html>\n<html lang="en">\n{tag("head", head)}\n{body}\n</html>\n'


def _table(rows: Rows) -> Html:
    return table("Every row", HEADS, [("", _cells(row, rows)) for row in rows])


def _cells(row: Mapping[str, Any], rows: Rows) -> list[Cell]:
    texts = _texts(row, rows)
    return [Cell(text, text, left) for text, (_, left) in zip(texts, HEADS, strict=True)]


def _texts(row: Mapping[str, Any], rows: Rows) -> list[str]:
    base = next(other for other in rows if other["part"] == row["part"])
    speed, eager, gap = row["speedup"], row["speedup_eager"], row.get("train_gap")
    first = row is base
    return [
        str(row["name"]),
        str(row["part"]),
        f"{row['metric']:.4f}",
        NONE if first else f"{row['drop']:+.4f}",
        NONE if gap is None else f"{gap:+.4f}",
        scaled(row["file_bytes"], "B"),
        NONE if first else f"{base['file_bytes'] / row['file_bytes']:.1f}",
        NONE if row["coded_bytes"] is None else scaled(row["coded_bytes"], "B"),
        f"{row['latency_ms']['p50']:.4f}",
        NONE if first else f"{speed['ratio']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})",
        NONE if eager is None else f"{eager['ratio']:.2f}",
        str(row["verdict"]),
        f"{row['engine']} {row['precision']}",
    ]


def _claims(claims: Rows) -> Html:
    heads = [("row", True), ("the source says", True), ("here", True), ("", True)]
    cells = [
        [Cell(one["row"], one["row"], True), Cell(one["source"], None, True), Cell(one["ours"] or NONE, None, True),
         Cell(MET[one["met"]], None, True)]
        for one in claims
    ]  # fmt: skip
    return table("Beside the source", heads, [("", row) for row in cells])


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
