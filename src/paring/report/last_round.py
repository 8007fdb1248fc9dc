"""The last round: what became of candidates that the clock could not tell apart when each was measured."""

from __future__ import annotations

from paring.core.measurement import Standing
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.tables import Cell, table
from paring.report.words import digits, scaled

LEAD = (
    "The clock could not tell these from the fastest when each was measured, in minutes of its own, so they were timed "
    "once more in turns. Of those that are not slower than the fastest, the smallest file is chosen."
)
HEADS = ("candidate", "median ms", "of the fastest's speed", "slower", "file")


def last_round_table(run: Run) -> Html | None:
    """The round as a table with what it is; None where there was none."""
    if not run.last_round:
        return None
    rows = [("chosen" if one.name == run.chosen else "", _cells(one)) for one in run.last_round]
    heads = [(head, head in ("candidate", "slower")) for head in HEADS]
    return join(tag("p", LEAD, class_="lead-in"), table("The last round", heads, rows))


def last_round_markdown(run: Run) -> str:
    """The same for a terminal or a pull request; empty where there was none."""
    if not run.last_round:
        return ""
    lines = [f"| {' | '.join(HEADS)} |", "| --- | ---: | ---: | --- | ---: |"]
    for one in run.last_round:
        cells = (str(cell.shown) for cell in _cells(one))
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join([LEAD, "", *lines])


def _cells(one: Standing) -> list[Cell]:
    ratio = one.ratio
    return [
        Cell(one.name, one.name, True),
        Cell(digits(one.ms), one.ms),
        Cell(f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})", ratio.ratio),
        Cell("yes" if one.slower else "no", None, True),
        Cell(scaled(one.file_bytes, "B"), one.file_bytes),
    ]
