"""What was done to each layer of each candidate, and what was left alone and why."""

from __future__ import annotations

from collections.abc import Sequence

from paring.core.edit import Declined
from paring.report.detail import Detail
from paring.report.html import Html, join, tag
from paring.report.layers import Layer, Shapes
from paring.report.results import Run
from paring.report.roles import Point, front, shown
from paring.report.tables import NONE, Cell, table
from paring.report.words import digits, percent, scaled

MOST_ROWS = 4000  # layer rows on one page: about 2 MB
HEADS = [
    ("layer", True), ("what was done", True), ("weights before", True), ("after", True), ("sparsity", False),
    ("non-zeros", False), ("bits", False), ("rank", False), ("bytes before", False), ("bytes after", False),
]  # fmt: skip
TIMES = [("ms before", False), ("ms after", False)]


def edit_tables(run: Run) -> Html:
    """One folding table a candidate, the chosen one open; where they would be too many, those of the front."""
    names = [one.name for one in run.candidates if one.name in run.details]
    if not names:
        return tag("p", "No edit log is kept in this run folder.", class_="soft")
    left_out: list[str] = []
    if sum(len(run.details[name].layers) for name in names) > MOST_ROWS:
        kept = _most_telling(run, names)
        left_out = [name for name in names if name not in kept]
        names = kept
    opened = run.chosen if run.chosen in names else names[0]
    folds = [_fold(name, run.details[name], run, name == opened) for name in names]
    note = f"Too many to list here, in edits.json of their folders: {', '.join(left_out)}."
    return join(*folds, tag("p", note, class_="soft") if left_out else None)


def _most_telling(run: Run, names: Sequence[str]) -> list[str]:
    points = [Point(one.latency_ms["p50"], shown(one).metric, None, None, shown(one).drop) for one in run.candidates]
    order = [run.chosen, *(run.candidates[index].name for index in front(points))]
    kept: list[str] = []
    rows = 0
    for name in dict.fromkeys(name for name in order if name in names):
        rows += len(run.details[str(name)].layers)
        if kept and rows > MOST_ROWS:
            break
        kept.append(str(name))
    return kept or [names[0]]


def _fold(name: str, detail: Detail, run: Run, opened: bool) -> Html:
    touched = sum(bool(layer.edits) for layer in detail.layers)
    said = f"{touched} of {len(detail.layers)} layers changed"
    if detail.declined:
        said += f", {len(detail.declined)} declined"
    summary = tag("summary", tag("span", name, class_="who"), tag("span", said, class_="soft"))
    timed = any(layer.ms_after is not None for layer in detail.layers)
    rows = [("" if layer.edits else "quiet", _cells(layer, timed)) for layer in detail.layers]
    if (rest := _rest(detail, name, run)) is not None:
        rows.append(("quiet", [*rest, *([Cell(NONE), Cell(NONE)] if timed else [])]))
    body = table(f"Layers of {name}", HEADS + (TIMES if timed else []), rows)
    return tag("details", summary, body, _declined(detail.declined), open=opened)


def _cells(layer: Layer, timed: bool) -> list[Cell]:
    cells = [
        Cell(layer.name or "(the model itself)", layer.name, True),
        Cell(_done(layer), None, True),
        Cell(_shapes(layer.before), None, True),
        Cell("the same" if layer.before == layer.after else _shapes(layer.after), None, True),
        Cell(NONE if layer.sparsity is None else percent(layer.sparsity), layer.sparsity),
        Cell(f"{layer.nonzeros:,}", layer.nonzeros),
        Cell(layer.bits or NONE),
        Cell(layer.ranks or NONE),
        _bytes(layer.bytes_before),
        _bytes(layer.bytes_after),
    ]
    if timed:
        cells += [Cell(NONE if ms is None else digits(ms), ms) for ms in (layer.ms_before, layer.ms_after)]
    return cells


def _rest(detail: Detail, name: str, run: Run) -> list[Cell] | None:
    known = [layer.bytes_after for layer in detail.layers if layer.bytes_after is not None]
    measured = {one.name: one for one in run.rows}
    if not known or name not in measured:
        return None
    before = run.baseline.file_bytes - sum(layer.bytes_before or 0 for layer in detail.layers)
    after = measured[name].file_bytes - sum(known)
    head = [Cell("rest of the file", "~", True), Cell("graph, names, other tensors", None, True)]
    return [*head, *(Cell(NONE, None, at < 2) for at in range(6)), _bytes(before), _bytes(after)]


def _done(layer: Layer) -> str:
    if layer.edits:
        return "; ".join(layer.edits)
    if not layer.after:
        return "removed"
    return "new" if not layer.before else NONE


def _declined(declined: Sequence[Declined]) -> Html | None:
    if not declined:
        return None
    items = (tag("li", tag("code", one.layer), f": {one.reason}") for one in declined)
    return join(tag("p", "Targeted, and left as they are:", class_="lead-in"), tag("ul", *items, class_="declined"))


def _shapes(shapes: Shapes) -> str:
    return " + ".join("×".join(map(str, shape)) for shape in shapes) or NONE


def _bytes(size: int | None) -> Cell:
    return Cell(NONE if size is None else scaled(size, "B"), size)
