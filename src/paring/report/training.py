"""Loss and metric of every epoch of every training, and how far the metric ever fell back."""

from __future__ import annotations

from collections.abc import Sequence

from paring.core.edit import Epoch
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.roles import role
from paring.report.scale import axis, tick_texts
from paring.report.tables import Cell, table
from paring.report.words import digits, metric_text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420.0, 190.0, 46.0, 414.0, 26.0, 150.0
NONE = "No training in this run."
LEAD = (
    "Epochs of all trainings of a candidate in a row. The largest dip is how far the metric on validation ever fell "
    "behind its best so far: large ones mean a learning rate too high, or an objective that pulls the other way."
)
Line = tuple[str, str, list[float]]


def training_section(run: Run) -> Html:
    """One table row a training, and the curves."""
    held = [(one, run.details[one.name].history) for one in run.rows if one.name in run.details]
    held = [(one, history) for one, history in held if history]
    if not held:
        return tag("p", NONE, class_="lead")
    heads = [("candidate", True), ("training", True), ("epochs", False), ("first loss", False), ("last loss", False),
             (f"last {run.baseline.metric_name}", False), ("largest dip", False)]  # fmt: skip
    rows = [
        (role(one, run.chosen), _cells(one.name, step, epochs, run.higher_is_better))
        for one, history in held
        for step, epochs in trainings(history)
    ]
    lines = [(one.name, role(one, run.chosen), history) for one, history in held]
    loss = [(name, kind, [epoch.loss for epoch in history]) for name, kind, history in lines]
    metric = [
        (name, kind, known)
        for name, kind, history in lines
        if (known := [epoch.metric for epoch in history if epoch.metric is not None])
    ]
    charts = [chart("mean loss", loss)]
    if metric:
        charts.append(chart(f"{run.baseline.metric_name} on validation", metric))
    return join(
        tag("p", LEAD, class_="lead"), table("Trainings", heads, rows), tag("div", *charts, class_="plots wide")
    )


def trainings(history: Sequence[Epoch]) -> list[tuple[str, list[Epoch]]]:
    """(pass, its epochs) for each training: a new one begins where the epoch is 1 again, or the pass another."""
    found: list[tuple[str, list[Epoch]]] = []
    for one in history:
        if not found or one.epoch == 1 or found[-1][0] != one.step:
            found.append((one.step, []))
        found[-1][1].append(one)
    return found


def largest_dip(metrics: Sequence[float], higher_is_better: bool) -> float:
    """How far the metric ever fell behind its best so far; 0 if it never did."""
    best, dip = metrics[0], 0.0
    for one in metrics:
        behind = best - one if higher_is_better else one - best
        best, dip = (one, dip) if behind < 0 else (best, max(dip, behind))
    return dip


def _cells(name: str, step: str, epochs: list[Epoch], higher_is_better: bool) -> list[Cell]:
    metrics = [epoch.metric for epoch in epochs if epoch.metric is not None]
    last, dip = (metrics[-1], largest_dip(metrics, higher_is_better)) if metrics else (None, None)
    return [
        Cell(name, name, True), Cell(step, step), Cell(str(len(epochs)), len(epochs)),
        Cell(digits(epochs[0].loss), epochs[0].loss), Cell(digits(epochs[-1].loss), epochs[-1].loss),
        Cell("" if last is None else metric_text(last), last), Cell("" if dip is None else metric_text(dip), dip),
    ]  # fmt: skip


def chart(title: str, lines: Sequence[Line]) -> Html:
    """A line a candidate over its epochs."""
    across = axis([1.0, *(float(len(values)) for *_, values in lines)], pad=0.0, log=False)
    up = axis([value for *_, values in lines for value in values], pad=0.05, log=False)
    parts = [tag("text", title, x=0, y=12, class_="axis-title")]
    ticks = up.ticks(4)
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        y = BOTTOM - up.at(tick) * (BOTTOM - TOP)
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", text, x=LEFT - 7, y=y + 4, text_anchor="end", class_="tick"))
    parts.append(tag("text", "epochs", x=RIGHT, y=HEIGHT - 6, text_anchor="end", class_="axis-title"))
    for _, kind, values in lines:
        points = [
            (LEFT + across.at(float(place)) * (RIGHT - LEFT), BOTTOM - up.at(value) * (BOTTOM - TOP))
            for place, value in enumerate(values, start=1)
        ]
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(tag("polyline", points=text, class_=f"line {kind}"))
    names = [tag("span", name, class_=f"key {kind}") for name, kind, _ in lines]
    svg = tag("svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", class_="plain", role="img", aria_label=title)
    return tag("figure", svg, tag("figcaption", *names))
