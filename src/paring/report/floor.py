"""How far each file is from what this machine could do at best."""

from __future__ import annotations

from paring.core.detail import Floor, OpFloor
from paring.core.measurement import Measurement
from paring.report.html import Html, join, tag
from paring.report.results import Run
from paring.report.roles import role
from paring.report.scale import Axis, axis
from paring.report.strips import axis_row, row, share, strip, upright
from paring.report.tables import NONE, Cell, table
from paring.report.words import digits, scaled

MOST_OPS = 40
LEAD = (
    "The floor is the least time this machine needs: for each operator the larger of computing and of moving its data, "
    "at the peaks measured here, and the cost of the call. The band reaches from the floor to the measured median."
)
MISSING = (
    "Not measured: the peaks of this machine are not known. They are measured once with the command paring machine; "
    "files judged after that carry their floor."
)
HEADS = [
    ("operator", True), ("module", True), ("bound by", True), ("floor ms", False), ("compute ms", False),
    ("memory ms", False), ("MACs", False), ("bytes", False),
]  # fmt: skip


def floors(run: Run) -> Html:
    """A band a file from its floor to its median, and the operators of the chosen one."""
    known = [(one, multiple) for one in run.rows if (multiple := one.roofline_multiple) is not None]
    if not known:
        return tag("p", MISSING, class_="lead")
    medians = [one.latency_ms["p50"] for one, _ in known]
    along = axis([*medians, *(one.latency_ms["p50"] / multiple for one, multiple in known)], log=True)
    rows = [
        row(one, run, _band(one, multiple, along, role(one, run.chosen)), _words(one, multiple))
        if (multiple := one.roofline_multiple) is not None
        else row(one, run, strip(), tag("div", tag("span", "not measured", class_="soft"), class_="what"))
        for one in run.rows
    ]
    told = next((one for one in run.rows if one.name == run.chosen and one.roofline is not None), None)
    return join(
        tag("p", LEAD, class_="lead"),
        tag("div", *rows, axis_row(along, "ms a call (log)"), class_="strips"),
        _operators(told.name, told.roofline) if told is not None and told.roofline is not None else None,
    )


def _band(one: Measurement, multiple: float, along: Axis, kind: str) -> Html:
    median = one.latency_ms["p50"]
    low, high = along.at(median / multiple), along.at(median)
    band = tag("rect", x=share(low), width=share(high - low), y="28%", height="44%", class_="interval")
    return strip(band, upright(low, "floor-mark", "10%", "90%"), upright(high, "at", "18%", "82%"), kind=kind)


def _words(one: Measurement, multiple: float) -> Html:
    median = one.latency_ms["p50"]
    figures = tag("span", tag("b", f"{digits(multiple, 2)} times its floor"), class_="num")
    of = tag("span", f"{digits(median / multiple)} of {digits(median)} ms", class_="soft num")
    bound = None if one.roofline is None else tag("span", _bound(one.roofline), class_="soft")
    return tag("div", figures, of, bound, class_="what")


def _bound(floor: Floor) -> str:
    total = floor.overhead_ms + sum(op.floor_ms for op in floor.ops)
    if total <= 0:
        return ""
    memory = sum(op.floor_ms for op in floor.ops if op.bound == "memory")
    compute = sum(op.floor_ms for op in floor.ops if op.bound == "compute")
    parts = [(compute, "compute"), (memory, "memory"), (floor.overhead_ms, "call")]
    return ", ".join(f"{100 * part / total:.0f} % {name}" for part, name in parts if part > 0.0005 * total)


def _operators(name: str, floor: Floor) -> Html:
    slowest = sorted(floor.ops, key=lambda op: -op.floor_ms)
    said = f"{len(floor.ops)} operators" if len(slowest) <= MOST_OPS else f"the {MOST_OPS} largest of {len(slowest)}"
    summary = tag("summary", tag("span", f"Operators of {name}", class_="who"), tag("span", said, class_="soft"))
    return tag("details", summary, table(f"Operators of {name}", HEADS, [("", _op(op)) for op in slowest[:MOST_OPS]]))


def _op(op: OpFloor) -> list[Cell]:
    return [
        Cell(op.kind, op.kind, True),
        Cell(op.module or NONE, op.module, True),
        Cell(op.bound, None, True),
        *(Cell(digits(ms), ms) for ms in (op.floor_ms, op.compute_ms, op.memory_ms)),
        Cell(scaled(op.macs), op.macs),
        Cell(scaled(op.bytes, "B"), op.bytes),
    ]
