"""Faster, or noise? Ratios with their intervals over the noise floor, and the timings themselves."""

from __future__ import annotations

import numpy as np

from paring.core.measurement import Measurement
from paring.judge.judge import AGAIN, BASE
from paring.measure.samples import Samples
from paring.report.density import SIZE, curve, density
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.roles import role
from paring.report.scale import Axis, axis, tick_texts
from paring.report.words import digits, percent

GLYPHS = {"faster": "▲", "slower": "▼", "indistinguishable": "≈", "baseline": "■"}


def verdict_pill(measured: Measurement) -> Html:
    """The verdict as a word with its sign, never by colour alone."""
    glyph = tag("span", GLYPHS[measured.verdict], aria_hidden="true")
    return tag("span", glyph, f" {measured.verdict}", class_=f"pill {measured.verdict}")


def ratios(run: Run) -> Html:
    """A row a candidate: its ratio to the baseline with the interval as a bar, over its own noise floor in grey."""
    bounds = [
        value
        for one in run.candidates
        for value in (one.speedup.low, one.speedup.high, 1 + one.noise_floor, 1 / (1 + one.noise_floor))
    ]
    along = axis([1.0, *bounds], log=True)
    rows = [_row(one, run, _ratio_strip(one, along), _ratio_words(one)) for one in run.candidates]
    return tag("div", *rows, _axis_row(along, "times the baseline's speed (log)"), class_="strips")


def distributions(run: Run) -> Html:
    """A row a file: all its timings as a curve, over those of the baseline and of the baseline again."""
    samples = {name: detail.samples for name, detail in run.details.items() if detail.samples is not None}
    held = [(one, samples[one.name]) for one in run.rows if one.name in samples]
    if not held:
        return tag("p", "No raw timings are kept in this run folder.", class_="soft")
    ends = [
        bound
        for one, taken in held
        for name in {str(one.target), BASE} & set(taken.names)
        for bound in np.percentile(_ms(taken, name), (0.5, 99)).tolist()
    ]
    along = axis(ends, pad=0.02, log=True)
    rows = [_row(one, run, _curves(one, taken, along), _spread_words(one)) for one, taken in held]
    return tag("div", *rows, _axis_row(along, "ms a call (log)"), class_="strips tall")


def _row(measured: Measurement, run: Run, strip: Html, words: Html) -> Html:
    kind = role(measured, run.chosen)
    return tag("div", tag("div", measured.name, class_="who"), strip, words, class_=f"strip-row {kind}")


def _ratio_strip(measured: Measurement, along: Axis) -> Html:
    floor, ratio = measured.noise_floor, measured.speedup
    left, right = along.at(1 / (1 + floor)), along.at(1 + floor)
    low, at, high = (along.at(value) for value in (ratio.low, ratio.ratio, ratio.high))
    return _strip(
        tag("rect", x=_share(left), width=_share(right - left), y=0, height="100%", class_="floor"),
        _upright(along.at(1.0), "one"),
        tag("rect", x=_share(low), width=_share(high - low), y="28%", height="44%", class_="interval"),
        _upright(at, "at", "18%", "82%"),
        kind=measured.verdict,
    )


def _curves(measured: Measurement, taken: Samples, along: Axis) -> Html:
    own = str(measured.target)
    names = [(name, kind) for name, kind in ((BASE, "base"), (AGAIN, "again"), (own, "own")) if name in taken.names]
    paths = [tag("path", d=curve(density(_ms(taken, name), along)), class_=kind) for name, kind in names]
    width, height = SIZE
    box = tag("svg", *paths, viewBox=f"0 0 {width} {height}", preserveAspectRatio="none", width="100%", height="100%")
    at = [along.at(measured.latency_ms[key]) for key in ("p50", "p99")]
    return _strip(box, _upright(at[0], "p50"), _upright(at[1], "p99"), kind=measured.verdict)


def _ratio_words(measured: Measurement) -> Html:
    ratio = measured.speedup
    figures = tag("span", tag("b", f"{ratio.ratio:.2f}"), f" ({ratio.low:.2f} to {ratio.high:.2f})", class_="num")
    noise = tag("span", f"noise floor {percent(measured.noise_floor)}", class_="soft")
    return tag("div", figures, verdict_pill(measured), noise, class_="what")


def _spread_words(measured: Measurement) -> Html:
    p50, p90, p99 = (digits(measured.latency_ms[key]) for key in ("p50", "p90", "p99"))
    figures = tag("span", tag("b", p50), f" ms median, {p90} p90, {p99} p99", class_="num")
    return tag("div", figures, tag("span", str(measured.target), class_="soft"), class_="what")


def _axis_row(along: Axis, title: str) -> Html:
    ticks = along.ticks()
    marks = [
        join(
            tag("line", x1=_share(along.at(tick)), x2=_share(along.at(tick)), y1=0, y2=4, class_="axis"),
            tag("text", text, x=_share(along.at(tick)), y=16, text_anchor=_anchor(along.at(tick)), class_="tick"),
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


def _strip(*parts: Html, kind: str) -> Html:
    return tag("div", tag("svg", *parts, width="100%", height="100%", aria_hidden="true"), class_=f"strip {kind}")


def _upright(at: float, kind: str, top: str = "0", bottom: str = "100%") -> Html:
    return tag("line", x1=_share(at), x2=_share(at), y1=top, y2=bottom, class_=kind)


def _anchor(at: float) -> str:
    return "start" if at < 0.03 else "end" if at > 0.97 else "middle"


def _share(value: float) -> str:
    return f"{100 * value:.2f}%"


def _ms(taken: Samples, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(taken.wall_ns[name], np.float64).ravel() / 1e6
