"""Rows of a name, a drawing that fills the width, and figures; readable at any width without a script."""

from __future__ import annotations

from paring.core.measurement import Measurement
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.roles import role
from paring.report.scale import Axis, tick_texts

GLYPHS = {"faster": "▲", "slower": "▼", "indistinguishable": "≈", "baseline": "■"}


def verdict_pill(measured: Measurement) -> Html:
    """The verdict as a word with its sign, never by colour alone."""
    glyph = tag("span", GLYPHS[measured.verdict], aria_hidden="true")
    return tag("span", glyph, f" {measured.verdict}", class_=f"pill {measured.verdict}")


def row(measured: Measurement, run: Run, drawing: Html, words: Html) -> Html:
    """A name, a drawing and the figures."""
    kind = role(measured, run.chosen)
    return tag("div", tag("div", measured.name, class_="who"), drawing, words, class_=f"strip-row {kind}")


def axis_row(along: Axis, title: str) -> Html:
    """The axis under such rows."""
    ticks = along.ticks()
    marks = [
        join(
            tag("line", x1=share(along.at(tick)), x2=share(along.at(tick)), y1=0, y2=4, class_="axis"),
            tag("text", text, x=share(along.at(tick)), y=16, text_anchor=_anchor(along.at(tick)), class_="tick"),
        )
        for tick, text in zip(ticks, tick_texts(ticks), strict=True)
    ]
    line = tag("line", x1=0, x2="100%", y1=0, y2=0, class_="axis")
    return tag(
        "div",
        tag("div", class_="who"),
        tag("div", tag("svg", line, *marks, width="100%", height=18), tag("div", title, class_="axis-title")),
        tag("div", class_="what"),
        class_="strip-row axis-row",
        aria_hidden="true",
    )


def strip(*parts: Html, kind: str = "") -> Html:
    """A drawing as wide as there is room; its parts stand at shares of the width."""
    return tag("div", tag("svg", *parts, width="100%", height="100%", aria_hidden="true"), class_=f"strip {kind}")


def upright(at: float, kind: str, top: str = "0", bottom: str = "100%") -> Html:
    """A line across the strip."""
    return tag("line", x1=share(at), x2=share(at), y1=top, y2=bottom, class_=kind)


def _anchor(at: float) -> str:
    return "start" if at < 0.03 else "end" if at > 0.97 else "middle"


def share(value: float) -> str:
    """0.5 -> "50.00%"."""
    return f"{100 * value:.2f}%"
