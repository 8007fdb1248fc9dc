"""The metric against what it costs: latency, bytes, work. Inline SVG, drawn here, alive without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paring.core.measurement import Measurement
from paring.report.html import Html, join, tag
from paring.report.labels import Box, Label, place, shorten
from paring.report.results import Run
from paring.report.roles import Point, front, hint, latency_interval, metric_interval, role, shown
from paring.report.scale import Axis, axis, tick_texts

WIDTH, HEIGHT = 380.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 370.0, 30.0, 254.0
MOST_LABELS = 14
IMPORTANCE = {"chosen": 0, "baseline": 1, "inside": 2, "outside": 3}


@dataclass(frozen=True)
class Cost:
    """One x axis: its title, its unit's size in what `value` gives, and the interval where there is one."""

    title: str
    value: Callable[[Measurement], float]
    interval: Callable[[Measurement], tuple[float, float] | None] = lambda measured: None


def trade_plots(run: Run) -> Html:
    """Three figures side by side."""
    costs = (
        Cost("latency, median ms a call", lambda one: one.latency_ms["p50"], latency_interval),
        _scaled("file", "bytes", lambda one: float(one.file_bytes), run.rows),
        _scaled("work", "MACs", lambda one: float(one.macs), run.rows),
    )
    return tag("div", *(_figure(run, cost) for cost in costs), class_="plots")


def _scaled(title: str, noun: str, value: Callable[[Measurement], float], rows: Sequence[Measurement]) -> Cost:
    most = max(value(one) for one in rows)
    sizes = {"bytes": ("bytes", "kB", "MB", "GB"), "MACs": ("MACs", "thousand MACs", "million MACs", "billion MACs")}
    power = 0 if most < 2e3 else 1 if most < 2e6 else 2 if most < 2e9 else 3
    return Cost(f"{title}, {sizes[noun][power]}", lambda one: value(one) / 1000**power)


def _figure(run: Run, cost: Cost) -> Html:
    points = [
        Point(cost.value(one), shown(one).metric, cost.interval(one), metric_interval(one, run.higher_is_better),
              shown(one).drop)
        for one in run.rows
    ]  # fmt: skip
    across = axis(value for point in points for value in (point.x, *(point.x_interval or ())))
    up = axis((value for point in points for value in (point.y, *(point.y_interval or ()))), log=False)
    place_at = [(_x(across, point.x), _y(up, point.y, run.higher_is_better)) for point in points]
    bars = [_spans(point, at, across, up, run) for point, at in zip(points, place_at, strict=True)]
    best = front(points)
    order = sorted(range(len(points)), key=lambda i: IMPORTANCE[role(run.rows[i], run.chosen)])
    title = f"{run.baseline.metric_name} against {cost.title}"
    svg = tag(
        "svg",
        _frame(run, cost, across, up),
        _front_line([place_at[index] for index in best]),
        *(_bars(bars[index]) for index in reversed(order)),
        _labels(run, place_at, order, best, bars),
        *(_mark(run.rows[index], place_at[index], run.chosen) for index in reversed(order)),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="group",
        aria_label=title,
        class_="plot",
    )
    return tag("figure", svg, tag("figcaption", title, class_="unseen"))


def _x(across: Axis, value: float) -> float:
    return LEFT + across.at(value) * (RIGHT - LEFT)


def _y(up: Axis, value: float, higher_is_better: bool) -> float:
    share = up.at(value)
    return BOTTOM - (share if higher_is_better else 1 - share) * (BOTTOM - TOP)


def _frame(run: Run, cost: Cost, across: Axis, up: Axis) -> Html:
    parts = []
    for tick, text in _texts(up):
        y = _y(up, tick, run.higher_is_better)
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", text, x=LEFT - 7, y=y + 4, text_anchor="end", class_="tick"))
    for tick, text in _texts(across):
        x = _x(across, tick)
        parts.append(tag("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4, class_="axis"))
        parts.append(tag("text", text, x=x, y=BOTTOM + 17, text_anchor="middle", class_="tick"))
    parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis"))
    direction = "" if run.higher_is_better else ", lower is better: better stands higher"
    metric = f"{run.baseline.metric_name} on {shown(run.baseline).split}{direction}"
    parts.append(tag("text", metric, x=2, y=13, class_="axis-title"))
    kind = " (log)" if across.log else ""
    parts.append(tag("text", cost.title + kind, x=RIGHT, y=HEIGHT - 8, text_anchor="end", class_="axis-title"))
    return tag("g", *parts, aria_hidden="true")


def _texts(one: Axis) -> list[tuple[float, str]]:
    ticks = one.ticks()
    return list(zip(ticks, tick_texts(ticks), strict=True))


def _front_line(corners: Sequence[tuple[float, float]]) -> Html | None:
    if len(corners) < 2:
        return None
    path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in corners[1:])
    return tag("path", d=path, class_="front", aria_hidden="true")


def _spans(point: Point, at: tuple[float, float], across: Axis, up: Axis, run: Run) -> list[Box]:
    x, y = at
    spans = []
    if point.x_interval is not None:
        low, high = (_x(across, value) for value in point.x_interval)
        spans.append((low, y, high, y))
    if point.y_interval is not None:
        top, bottom = sorted(_y(up, value, run.higher_is_better) for value in point.y_interval)
        spans.append((x, top, x, bottom))
    return spans


def _bars(spans: Sequence[Box]) -> Html:
    drawn = (tag("line", x1=left, x2=right, y1=top, y2=bottom) for left, top, right, bottom in spans)
    return tag("g", *drawn, class_="bars", aria_hidden="true")


def _labels(
    run: Run,
    at: Sequence[tuple[float, float]],
    order: Sequence[int],
    best: Sequence[int],
    bars: Sequence[Sequence[Box]],
) -> Html:
    few = len(order) <= MOST_LABELS
    wanted = [index for index in order if few or index in best or run.rows[index].name == run.chosen]
    rest = [index for index in order if index not in wanted]
    texts = [shorten(run.rows[index].name) for index in wanted]
    frame = (LEFT, TOP - 8, WIDTH, BOTTOM - 2)
    spans = [span for pair in bars for span in pair]
    placed = place([at[index] for index in wanted + rest], texts + [""] * len(rest), frame, spans)
    pairs = zip(wanted, placed, strict=False)
    return tag("g", *(_label(run.rows[i], at[i], one, run.chosen) for i, one in pairs if one), aria_hidden="true")


def _label(measured: Measurement, at: tuple[float, float], label: Label, chosen: str | None) -> Html:
    text = tag("text", label.text, x=label.x, y=label.y, text_anchor=label.anchor,
               class_=f"name {role(measured, chosen)}")  # fmt: skip
    if not label.far:
        return text
    end = label.y + 3 if label.y < at[1] else label.y - 9
    return join(tag("line", x1=at[0], y1=at[1], x2=label.x, y2=end, class_="leader"), text)


def _mark(measured: Measurement, at: tuple[float, float], chosen: str | None) -> Html:
    x, y = at
    kind, text = role(measured, chosen), hint(measured, chosen)
    if kind == "baseline":
        shape = tag("rect", x=x - 4.5, y=y - 4.5, width=9, height=9)
    else:
        shape = tag("circle", cx=x, cy=y, r=6.0 if kind == "chosen" else 4.5)
    return tag(
        "g",
        tag("title", text),
        tag("circle", cx=x, cy=y, r=13, class_="hit"),
        shape,
        class_=f"point {kind}",
        role="img",
        aria_label=text.replace("\n", "; "),
        data_name=measured.name,
    )
