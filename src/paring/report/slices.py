"""Where the metric was lost: class by class, beside how far each file answers as the original does."""

from __future__ import annotations

from paring.core.detail import SliceDrop
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.roles import shown
from paring.report.tables import NONE, Cell, table
from paring.report.words import metric_text, percent, signed

LEAD = (
    "The drop within each class, with its 95 % interval: a loss that the mean hides stands here. Marked ▼ where the "
    "whole interval is a loss."
)
MISSING = "Not measured: the targets are no classes, or the metric is no mean over examples."


def slice_table(run: Run) -> Html:
    """Classes down, files across, the worst of the chosen file first."""
    held = [one for one in run.candidates if shown(one).slices]
    about = _about(run)
    if not held:
        return join(tag("p", MISSING, class_="lead"), about)
    lead = next((one for one in held if one.name == run.chosen), held[0])
    drops = {one.name: {entry.name: entry for entry in shown(one).slices} for one in held}
    worst = sorted(shown(lead).slices, key=lambda entry: (-entry.drop, entry.name))
    heads = [("class", True), ("examples", False), *((one.name, False) for one in held)]
    rows = [
        ("", [Cell(entry.name, entry.name, True), Cell(f"{entry.num_examples:,}", entry.num_examples),
              *(_drop(drops[one.name].get(entry.name)) for one in held)])
        for entry in worst
    ]  # fmt: skip
    return join(tag("p", LEAD, class_="lead"), table("Drop by class", heads, rows), about)


def _drop(entry: SliceDrop | None) -> Cell:
    if entry is None:
        return Cell(NONE)
    bounds = entry.drop_interval
    if bounds is None:
        return Cell(signed(entry.drop), entry.drop)
    small = tag("small", f"{signed(bounds[0])} to {signed(bounds[1])}")
    if bounds[0] > 0:
        mark = tag("span", tag("span", "▼", aria_hidden="true"), f" {signed(entry.drop)}", class_="pill slower")
        return Cell(join(mark, small), entry.drop)
    return Cell(join(signed(entry.drop), small), entry.drop)


def _about(run: Run) -> Html | None:
    qualities = [shown(one) for one in run.rows]
    agreed = [quality.agreement for quality in qualities]
    told = [
        ("same first answer as the original", [None if one is None else percent(one.top1) for one in agreed]),
        ("mean KL divergence from it, nats", [None if one is None else metric_text(one.mean_kl) for one in agreed]),
        ("better on training data by", [None if q.train_gap is None else signed(q.train_gap) for q in qualities]),
    ]
    told = [(name, said) for name, said in told if any(said)]
    if not told:
        return None
    heads = [("", True), *((one.name, False) for one in run.rows)]
    rows = [("", [Cell(name, name, True), *(Cell(text or NONE) for text in said)]) for name, said in told]
    return table("Agreement with the original", heads, rows, sortable=False)
