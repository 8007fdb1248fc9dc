"""A study's own page: its rows, and each figure of the source beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from paring.report.html import Html, join, tag
from paring.report.tables import NONE, Cell, table
from paring.report.words import scaled

Rows = Sequence[Mapping[str, Any]]
HEADS = [
    ("row", True), ("of", True), ("metric", False), ("drop", False), ("train - test", False), ("file", False),
    ("times smaller", False), ("median ms", False), ("times as fast", False), ("times as fast as eager", False),
    ("verdict", True), ("on", True),
]  # fmt: skip
MET = {True: "met", False: "not met", None: "not run"}


def study_markdown(title: str, about: str, rows: Rows, claims: Rows, command: str) -> str:
    """The page for a terminal or a pull request."""
    lines = [f"# {title}", "", about, "", f"Command: `{command}`.", "", _line([head for head, _ in HEADS])]
    lines += [_line(["---"] * len(HEADS)), *(_line(_texts(row, rows)) for row in rows)]
    if claims:
        lines += ["", "## Beside the source", "", _line(["row", "the source says", "here", ""]), _line(["---"] * 4)]
        lines += [_line([one["row"], one["source"], one["ours"] or NONE, MET[one["met"]]]) for one in claims]
    return "\n".join(lines) + "\n"


def study_page(title: str, about: str, rows: Rows, claims: Rows, command: str) -> str:
    """The page, one file without network; each part's own report lies in its folder."""
    parts = dict.fromkeys(str(row["part"]) for row in rows)
    links = [tag("li", tag("a", part, href=f"{part.replace(' ', '-')}/report.html")) for part in parts]
    body = tag(
        "body",
        tag("header", tag("p", tag("b", "Paring"), " study", class_="brand"), tag("h1", title, class_="verdict")),
        tag(
            "main",
            tag("p", about, class_="lead"),
            tag("section", tag("h2", "Every row"), _table(rows)),
            tag("section", tag("h2", "Beside the source"), _claims(claims)) if claims else None,
            tag("section", tag("h2", "Each part in full"), tag("ul", *links)),
            tag("section", tag("h2", "How to reproduce"), tag("pre", tag("code", command))),
        ),
        tag("script", Html((files("paring.report") / "assets" / "page.js").read_text(encoding="utf-8"))),
    )
    style = (files("paring.report") / "assets" / "page.css").read_text(encoding="utf-8")
    head = join(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
        tag("title", title),
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


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
