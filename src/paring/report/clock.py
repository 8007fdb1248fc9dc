"""Faster, or noise? Ratios with their intervals over the noise floor, and the timings themselves."""

from __future__ import annotations

import numpy as np

from paring.core.measurement import Measurement
from paring.judge.judge import AGAIN, BASE
from paring.measure.canary import DRIFT
from paring.measure.samples import Samples
from paring.report.density import SIZE, curve, density
from paring.report.html import Html, tag
from paring.report.results import Run
from paring.report.scale import Axis, axis
from paring.report.strips import axis_row, row, share, strip, upright, verdict_pill
from paring.report.words import digits, percent


def ratios(run: Run) -> Html:
    """A row a candidate: its ratio to the baseline with the interval as a bar, over its own noise floor in grey."""
    bounds = [
        value
        for one in run.candidates
        for value in (one.speedup.low, one.speedup.high, 1 + one.noise_floor, 1 / (1 + one.noise_floor))
    ]
    along = axis([1.0, *bounds], log=True)
    rows = [row(one, run, _ratio_strip(one, along), _ratio_words(one)) for one in run.candidates]
    return tag("div", *rows, axis_row(along, "times the baseline's speed (log)"), class_="strips")


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
    rows = [row(one, run, _curves(one, taken, along), _spread_words(one)) for one, taken in held]
    return tag("div", *rows, axis_row(along, "ms a call (log)"), class_="strips tall")


def _ratio_strip(measured: Measurement, along: Axis) -> Html:
    floor, ratio = measured.noise_floor, measured.speedup
    left, right = along.at(1 / (1 + floor)), along.at(1 + floor)
    low, at, high = (along.at(value) for value in (ratio.low, ratio.ratio, ratio.high))
    return strip(
        tag("rect", x=share(left), width=share(right - left), y=0, height="100%", class_="floor"),
        upright(along.at(1.0), "one"),
        tag("rect", x=share(low), width=share(high - low), y="28%", height="44%", class_="interval"),
        upright(at, "at", "18%", "82%"),
        kind=measured.verdict,
    )


def _curves(measured: Measurement, taken: Samples, along: Axis) -> Html:
    own = str(measured.target)
    names = [(name, kind) for name, kind in ((BASE, "base"), (AGAIN, "again"), (own, "own")) if name in taken.names]
    paths = [tag("path", d=curve(density(_ms(taken, name), along)), class_=kind) for name, kind in names]
    width, height = SIZE
    box = tag("svg", *paths, viewBox=f"0 0 {width} {height}", preserveAspectRatio="none", width="100%", height="100%")
    at = [along.at(measured.latency_ms[key]) for key in ("p50", "p99")]
    return strip(box, upright(at[0], "p50"), upright(at[1], "p99"), kind=measured.verdict)


def _ratio_words(measured: Measurement) -> Html:
    ratio = measured.speedup
    figures = tag("span", tag("b", f"{ratio.ratio:.2f}"), f" ({ratio.low:.2f} to {ratio.high:.2f})", class_="num")
    noise = tag("span", f"noise floor {percent(measured.noise_floor)}", class_="soft")
    drifted = measured.drift is not None and measured.drift > DRIFT
    doubt = tag("span", f"the machine drifted by {percent(measured.drift or 0)}", class_="doubt") if drifted else None
    return tag("div", figures, verdict_pill(measured), noise, doubt, class_="what")


def _spread_words(measured: Measurement) -> Html:
    p50, p90, p99 = (digits(measured.latency_ms[key]) for key in ("p50", "p90", "p99"))
    figures = tag("span", tag("b", p50), f" ms median, {p90} p90, {p99} p99", class_="num")
    return tag("div", figures, tag("span", str(measured.target), class_="soft"), class_="what")


def _ms(taken: Samples, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(taken.wall_ns[name], np.float64).ravel() / 1e6
