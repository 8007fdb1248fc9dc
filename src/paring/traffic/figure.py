"""Several models under load as one figure: p50 and p99 against the rate, and where each refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paring.report.html import Html, join, tag
from paring.report.scale import Axis, axis, tick_texts
from paring.traffic.ladder import Ladder
from paring.traffic.plan import Rung

WIDTH, HEIGHT = 720.0, 420.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 560.0, 34.0, 368.0
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d4f", "#7a4fa3", "#8a6d1d")
INK, FAINT, BOUND = "#222222", "#d8d8d8", "#a02020"


def figure(ladders: Sequence[Ladder]) -> str:
    """A standalone SVG. Solid: p99 of accepted requests from the intended send time; dotted: p50; a cross: refusals."""
    rungs = [one for ladder in ladders for one in ladder.rungs if one.accepted]
    across = axis([one.rate_per_s for one in rungs], log=True)
    up = axis([value for one in rungs for value in (one.latency_ms["p50"], one.latency_ms["p99"])], log=True)
    parts = [_frame(across, up), *(_limit(ladder, up) for ladder in ladders[:1])]
    for number, ladder in enumerate(ladders):
        colour = COLOURS[number % len(COLOURS)]
        parts += [_lines(ladder, across, up, colour), _label(ladder, number, colour)]
    white = tag("rect", width=WIDTH, height=HEIGHT, fill="white")
    drawn = tag("svg", white, *parts, viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", font_family="sans-serif", font_size=12)
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _frame(across: Axis, up: Axis) -> Html:
    parts = []
    for tick, text in _texts(up):
        y = _y(up, tick)
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke=FAINT))
        parts.append(tag("text", text, x=LEFT - 8, y=y + 4, text_anchor="end", fill=INK))
    for tick, text in _texts(across):
        x = _x(across, tick)
        parts.append(tag("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4, stroke=INK))
        parts.append(tag("text", text, x=x, y=BOTTOM + 18, text_anchor="middle", fill=INK))
    parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, stroke=INK))
    parts.append(tag("text", "ms from the intended send time, p99 (solid) and p50 (dotted), log", x=8, y=18, fill=INK))
    parts.append(tag("text", "arrivals per second, log", x=RIGHT, y=HEIGHT - 10, text_anchor="end", fill=INK))
    return join(*parts)


def _texts(along: Axis) -> list[tuple[float, str]]:
    ticks = along.ticks()
    return list(zip(ticks, tick_texts(ticks), strict=True))


def _limit(ladder: Ladder, up: Axis) -> Html:
    if ladder.limit_ms is None or not up.low <= ladder.limit_ms <= up.high:
        return Html("")
    y = _y(up, ladder.limit_ms)
    line = tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, stroke=BOUND, stroke_dasharray="6 3")
    return join(line, tag("text", f"{ladder.percentile} bound {ladder.limit_ms:g} ms", x=LEFT + 6, y=y - 5, fill=BOUND))


def _lines(ladder: Ladder, across: Axis, up: Axis, colour: str) -> Html:
    shown = [one for one in ladder.rungs if one.accepted]
    parts = []
    for percentile, dashes in (("p99", None), ("p50", "2 3")):
        told = " ".join(f"{_x(across, one.rate_per_s):.1f},{_y(up, one.latency_ms[percentile]):.1f}" for one in shown)
        parts.append(tag("polyline", points=told, fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dashes))
    return join(*parts, *(_mark(one, across, up, colour) for one in shown))


def _mark(one: Rung, across: Axis, up: Axis, colour: str) -> Html:
    x, y = _x(across, one.rate_per_s), _y(up, one.latency_ms["p99"])
    words = f"{one.rate_per_s:,.0f} per s: p50 {one.latency_ms['p50']:.3g} ms, p99 {one.latency_ms['p99']:.3g} ms"
    title = tag("title", f"{words}, {one.refused} of {one.sent} refused, {one.failed} failed")
    if one.refused + one.failed == 0:
        return tag("circle", title, cx=x, cy=y, r=4, fill=colour)
    return tag("path", title, d=f"M{x - 5:.1f},{y - 5:.1f}l10,10m0,-10l-10,10", stroke=colour, stroke_width=2.5)


def _label(ladder: Ladder, number: int, colour: str) -> Html:
    words = [ladder.model, f"saturates at {ladder.saturation_per_s:,.0f}/s"]
    if ladder.limit_ms is not None:
        rate = ladder.highest_per_s
        words.append("no rate holds the bound" if rate is None else f"holds the bound at {rate:,.0f}/s")
    y = TOP + 10 + 55 * number
    return join(*(tag("text", text, x=RIGHT + 8, y=y + 15 * row, fill=colour) for row, text in enumerate(words)))


def _x(across: Axis, value: float) -> float:
    return LEFT + across.at(value) * (RIGHT - LEFT)


def _y(up: Axis, value: float) -> float:
    return BOTTOM - up.at(value if math.isfinite(value) else up.high) * (BOTTOM - TOP)
