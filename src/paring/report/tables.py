"""The tables of the page. Cells carry their exact value, so that a click on a heading sorts by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paring.core.measurement import Measurement, TargetTiming
from paring.report.html import Child, Html, join, lines, tag
from paring.report.results import Run
from paring.report.roles import role, shown
from paring.report.strips import verdict_pill
from paring.report.words import digits, metric_text, scaled, signed

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """What is shown, and by what it sorts; `text` cells stand left."""

    shown: Child
    value: float | str | None = None
    text: bool = False


def table(
    name: str, heads: Sequence[tuple[str, bool]], rows: Iterable[tuple[str, Sequence[Cell]]], *, sortable: bool = True
) -> Html:
    """A table in a box that scrolls sideways where the screen is narrow.

    Args:
        name: what a screen reader announces.
        heads: (heading, whether its column is text).
        rows: (class of the row, cells); the first cell is the row's heading.
    """
    head = tag("tr", *(tag("th", text, scope="col", class_="text" if left else None) for text, left in heads))
    body = lines([_row(kind, cells) for kind, cells in rows])
    inner = tag(
        "table", tag("caption", name, class_="unseen"), tag("thead", head), tag("tbody", body),
        class_="sortable" if sortable else None,
    )  # fmt: skip
    return tag("div", inner, class_="scroll", role="region", aria_label=name, tabindex=0)


def candidates_table(run: Run) -> Html:
    """Every file of the run, what it gives and what it costs."""
    metric = run.baseline.metric_name
    heads = [
        ("candidate", True), (metric, False), ("drop", False), ("median ms", False), ("times as fast", False),
        ("verdict", True), ("file", False), ("parameters", False), ("MACs", False), ("per second", False),
        ("peak memory", False), ("engine", True),
    ]  # fmt: skip
    rows = [(role(one, run.chosen), _candidate(one, run)) for one in run.rows]
    return table("All candidates", heads, rows)


def _candidate(one: Measurement, run: Run) -> list[Cell]:
    quality, ratio, kind = shown(one), one.speedup, role(one, run.chosen)
    drop: Child = NONE
    speed: Child = NONE
    if kind != "baseline":
        bounds = quality.drop_interval
        small = None if bounds is None else tag("small", f"{signed(bounds[0])} to {signed(bounds[1])}")
        drop = join(signed(quality.drop), small)
        speed = join(f"{ratio.ratio:.2f}", tag("small", f"{ratio.low:.2f} to {ratio.high:.2f}"))
    note = {"chosen": "chosen", "outside": "outside the budget"}.get(kind)
    p99 = tag("small", f"p99 {digits(one.latency_ms['p99'])}")
    return [
        Cell(join(one.name, tag("small", note) if note else None), one.name, True),
        Cell(metric_text(quality.metric), quality.metric),
        Cell(drop, quality.drop),
        Cell(join(digits(one.latency_ms["p50"]), p99), one.latency_ms["p50"]),
        Cell(speed, ratio.ratio),
        Cell(verdict_pill(one), one.verdict, True),
        Cell(scaled(one.file_bytes, "B"), one.file_bytes),
        Cell(scaled(one.num_params), one.num_params),
        Cell(scaled(one.macs), one.macs),
        Cell(f"{one.throughput_per_s:,.0f}", one.throughput_per_s),
        Cell(NONE if one.peak_memory_bytes is None else scaled(one.peak_memory_bytes, "B"), one.peak_memory_bytes),
        Cell(join(one.target.engine, tag("small", str(one.target).removeprefix(one.target.engine))), None, True),
    ]


def targets_table(run: Run) -> Html:
    """Every file on every engine and precision it runs on."""
    metric = f"{run.baseline.metric_name} on {run.baseline.quality.split}"
    heads = [
        ("candidate", True), ("engine", True), ("threads", False), ("batch", False), ("median ms", False),
        ("p90 ms", False), ("p99 ms", False), ("CPU ms", False), ("per second", False), (metric, False),
        ("parity error", False),
    ]  # fmt: skip
    rows = [
        ("chosen" if entry.target == one.target else "", _target(one, entry))
        for one in run.rows
        for entry in one.targets
    ]
    return table("Every engine and precision", heads, rows)


def _target(one: Measurement, entry: TargetTiming) -> list[Cell]:
    latency = entry.latency_ms
    return [
        Cell(one.name, one.name, True),
        Cell(str(entry.target), None, True),
        Cell(str(entry.target.threads)),
        Cell(str(entry.target.batch_size)),
        *(Cell(digits(latency[key]), latency[key]) for key in ("p50", "p90", "p99")),
        Cell(NONE if entry.cpu_ms is None else digits(entry.cpu_ms), entry.cpu_ms),
        Cell(f"{entry.throughput_per_s:,.0f}", entry.throughput_per_s),
        Cell(NONE if entry.metric is None else metric_text(entry.metric), entry.metric),
        Cell(NONE if entry.parity_error is None else f"{entry.parity_error:.1e}", entry.parity_error),
    ]


def _row(kind: str, cells: Sequence[Cell]) -> Html:
    first, *rest = cells
    head = tag("th", first.shown, scope="row", class_="text", data_value=_value(first))
    return tag("tr", head, *(_cell(cell) for cell in rest), class_=kind or None)


def _cell(cell: Cell) -> Html:
    return tag("td", cell.shown, class_="text" if cell.text else None, data_value=_value(cell))


def _value(cell: Cell) -> str | None:
    return None if cell.value is None else repr(cell.value) if isinstance(cell.value, float) else str(cell.value)
