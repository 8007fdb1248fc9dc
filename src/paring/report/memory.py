"""What a process that serves the file takes: memory, time to start, and what several of them answer together."""

from __future__ import annotations

from collections.abc import Sequence

from paring.core.detail import Timeline
from paring.core.measurement import Measurement
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.roles import role
from paring.report.scale import axis, tick_texts
from paring.report.tables import Cell, table
from paring.report.words import digits, scaled

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420.0, 190.0, 40.0, 414.0, 26.0, 150.0
LEAD = (
    "Of a fresh process that loads and runs the file: what the weights take, what loading added, the peak above an "
    "empty engine, and the time from its start to the first answer."
)
MISSING = "Not measured in this run."


def memory_section(run: Run) -> Html:
    """The figures of every file, the resident set and processor over time, and throughput by processes."""
    held = [one for one in run.rows if one.memory is not None]
    parts: list[Html | None] = [_figures(held, run)] if held else [tag("p", MISSING, class_="lead")]
    parts.append(_timelines(held, run))
    parts.append(_throughput(run))
    return join(*parts)


def _figures(held: Sequence[Measurement], run: Run) -> Html:
    heads = [
        ("candidate", True), ("file", False), ("weights in memory", False), ("added by loading", False),
        ("peak", False), ("cold start ms", False), ("of which loading ms", False),
    ]  # fmt: skip
    rows = []
    for one in held:
        assert one.memory is not None
        sizes = (one.file_bytes, one.memory.weights_bytes, one.memory.loaded_bytes, one.memory.peak_bytes)
        times = (one.memory.cold_start_ms, one.memory.load_ms)
        cells = [Cell(one.name, one.name, True), *(Cell(scaled(size, "B"), size) for size in sizes)]
        rows.append((role(one, run.chosen), [*cells, *(Cell(digits(ms), ms) for ms in times)]))
    return join(tag("p", LEAD, class_="lead"), table("Memory and start", heads, rows))


def _timelines(held: Sequence[Measurement], run: Run) -> Html | None:
    shown = [one for one in held if one.verdict == "baseline" or one.name == run.chosen]
    lines = [(one, one.memory.timeline) for one in shown if one.memory is not None and len(one.memory.timeline.t_s) > 1]
    if not lines:
        return None
    rss = _chart("resident set, MB", run, [(one, line, [size / 1e6 for size in line.rss_bytes]) for one, line in lines])
    cpu = _chart("processor, % of one core", run, [(one, line, list(line.cpu_percent)) for one, line in lines])
    return tag("div", rss, cpu, class_="plots wide")


def _chart(title: str, run: Run, series: Sequence[tuple[Measurement, Timeline, list[float]]]) -> Html:
    across = axis([0.0, *(t for _, line, _ in series for t in line.t_s)], pad=0.0, log=False)
    up = axis([0.0, *(value for *_, values in series for value in values)], pad=0.05, log=False)
    parts = [tag("text", title, x=0, y=12, class_="axis-title")]
    for axis_ticks, vertical in ((up, True), (across, False)):
        ticks = axis_ticks.ticks(4)
        for tick, text in zip(ticks, tick_texts(ticks), strict=True):
            x, y = LEFT + across.at(tick) * (RIGHT - LEFT), BOTTOM - up.at(tick) * (BOTTOM - TOP)
            if vertical:
                parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
                parts.append(tag("text", text, x=LEFT - 7, y=y + 4, text_anchor="end", class_="tick"))
            else:
                parts.append(tag("text", text, x=x, y=BOTTOM + 17, text_anchor="middle", class_="tick"))
    parts.append(tag("text", "seconds since the process started", x=RIGHT, y=HEIGHT - 6, text_anchor="end",
                     class_="axis-title"))  # fmt: skip
    for one, line, values in series:
        points = " ".join(
            f"{LEFT + across.at(t) * (RIGHT - LEFT):.1f},{BOTTOM - up.at(value) * (BOTTOM - TOP):.1f}"
            for t, value, size in zip(line.t_s, values, line.rss_bytes, strict=True)
            if size  # the last look may find the process gone
        )
        parts.append(tag("polyline", points=points, class_=f"line {role(one, run.chosen)}"))
    names = [tag("span", one.name, class_=f"key {role(one, run.chosen)}") for one, *_ in series]
    svg = tag("svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", class_="plain", role="img", aria_label=title)
    return tag("figure", svg, tag("figcaption", *names))


def _throughput(run: Run) -> Html | None:
    held = [(one, entry) for one in run.rows for entry in one.throughput]
    if not held:
        return None
    heads = [("candidate", True), ("processes", False), ("threads each", False), ("batch", False),
             ("per second", False), ("CPU ms an example", False)]  # fmt: skip
    rows = [
        (role(one, run.chosen) if entry is one.throughput[0] else "",
         [Cell(one.name, one.name, True), Cell(str(entry.processes)), Cell(str(entry.threads)),
          Cell(str(entry.batch_size)), Cell(f"{entry.per_s:,.0f}", entry.per_s),
          Cell(digits(entry.cpu_ms_per_example), entry.cpu_ms_per_example)])
        for one, entry in held
    ]  # fmt: skip
    return join(tag("h3", "Throughput"), table("Throughput", heads, rows))
