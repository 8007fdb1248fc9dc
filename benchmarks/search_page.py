"""benchmarks/search.md from benchmarks/results/search.json."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from kept import elsewhere

HEAD = """# The budget solver and the search, measured

Command: `python benchmarks/search.py {sections}` (seed 0 where none is named; commits {commits}).
Machine: {cpu}, {cores} usable cores, {flags}.
Versions: {versions}.
"""

SAME = 1e-6  # of a loss: files of the same choice differ by the order in which sums were made
SAME_BYTES = 1e-3  # of a file's: less is what its names take
TABLES = """Seconds are of a table of which no cache holds anything, with as many torch threads as it says, on a machine
that did nothing else. Ten minutes are the goal. The loss is that of the first of the solver's three plans that loses
least at the model's own size, so it may lie above what the solver finds for a size (tables below)."""


FORETOLD = """\
Mixes of options: what each loses alone, `summed`, and `foretold`, with what every two add to each other's loss by how
they move the answers, beside what the whole model loses with all of them, on calibration data."""


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    here, rows = results["machine"], results["rows"]
    known = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    commits = ", ".join(sorted({row["commit"] for section in rows.values() for row in section.values()}))
    parts = [
        HEAD.format(
            cpu=here["cpu"],
            cores=here["usable_cores"],
            flags=", ".join(here["flags"]),
            versions=known,
            sections=" ".join(name for name, made in rows.items() if made),
            commits=commits,
        )
    ]
    for section, make in (
        ("tables", _tables),
        ("foretold", _foretold),
        ("bytes", partial(_bytes, rows)),
        ("clock", partial(_clock, rows)),
        ("distill", _distill),
        ("time", _time),
    ):
        if rows.get(section):
            parts.append(make(rows[section]))
    return "\n".join(parts).rstrip("\n") + "\n"


def _tables(rows: dict[str, Any]) -> str:
    lines = []
    for name, row in rows.items():
        for one in row["solves"]:
            figures = (
                ("out of reach", "", "", "")
                if "miss" in one
                else (f"{one['solve_s']:.3f}", f"{one['loss']:.4g}", f"{one['gap']:.2%}", f"{one['loss_per_kb']:.3g}")
            )
            made = f"{row['seconds']:.0f}", row["threads"], row["units"], row["options"]
            lines.append((name, *made, f"{one['shrink']:g}x", *figures))
    heads = ("task", "tables s", "threads", "units", "options", "size", "solve s", "loss", "gap", "loss per kB")
    return _said(f"## Tables, solves, gaps\n\n{TABLES}\n\n{_table(heads, lines)}", elsewhere(rows))


def _foretold(rows: dict[str, Any]) -> str:
    lines = []
    for name, row in rows.items():
        for how in ("foretold", "summed"):
            one = row[how]
            spread = ", ".join(f"{ratio:.2f}" for ratio in one["ratio_p10_p50_p90"]) if row["num_near"] else ""
            within = f"{one['within_1.3']:.0%}" if row["num_near"] else ""
            mixes = len(row["triples"]), f"{one['spearman']:.3f}", row["num_near"]
            lines.append((name, how, *mixes, spread, within))
    heads = (
        "task", "loss", "mixes", "Spearman", "with loss 0.0001 to 0.3", "of the measured p10, p50, p90", "within 1.3x"
    )  # fmt: skip
    return _said(
        f"## The foretold loss beside the measured one\n\n{FORETOLD}\n\n{_table(heads, lines)}", elsewhere(rows)
    )


def _bytes(every: dict[str, Any], rows: dict[str, Any]) -> str:
    by_task: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for name, row in rows.items():
        task, *rest = name.split(" / ")
        if "miss" in row:
            by_task[task].append((float("inf"), ", ".join(rest), "out of reach", "", "", ""))
            continue
        figures = (f"{row['validation_loss']:.4g}", f"{row['test_loss']:.4g}", f"{row['test_drop']:+.4f}")
        by_task[task].append((row["file_bytes"], ", ".join(rest), f"{row['file_bytes']:,}", *figures))
    heads = ("what", "file bytes", "loss, validation", "loss, test", "metric drop, test")
    parts = [
        "## At equal bytes\n\nNo training anywhere; every loser too. Loss is the divergence from the original. A joint "
        "file is held against every other of no more bytes (0.1 % count as none) that loses less on validation, "
        "example by example (`pairs`, 95 % intervals)."
    ]
    for task, lines in by_task.items():
        parts.append(f"### {task}\n\n{_table(heads, [line[1:] for line in sorted(lines, key=lambda line: line[0])])}")
        if any(not name.startswith("joint") for _, name, *_ in lines):
            parts.append(_held(task, rows, every.get("pairs", {}), SAME_BYTES, "file_bytes", "bytes", "x"))
        else:
            parts.append("Joint rows alone so far: nothing to hold them against.")
    return _said(*parts, elsewhere(rows))


def _clock(every: dict[str, Any], rows: dict[str, Any]) -> str:
    """All files of a task by their measured time, those made for a size too."""
    known = every.get("bytes", {}) | every.get("faster", {})
    heads = ("what", "ms", "faster", "file bytes", "loss, validation", "loss, test", "metric drop, test")
    parts = [
        "## At equal latency\n\nEvery file above and those made for a speed, "
        "one call at batch 1, in turns, with 99 % intervals. What is out of reach is not listed, nor files "
        "that were made anew, with other bytes, since their task was clocked."
    ]
    for task, row in rows.items():
        lines = []
        files = {
            name: one
            for name, one in row["files"].items()
            if name not in known or known[name].get("file_bytes") == one["bytes"]
        }
        for name, one in sorted(files.items(), key=lambda item: item[1]["ms"]):
            its = known.get(name)
            losses = (
                (f"{its['validation_loss']:.4g}", f"{its['test_loss']:.4g}", f"{its['test_drop']:+.4f}")
                if its
                else ("", "", "")
            )
            ratio = "{:.2f}x ({:.2f} to {:.2f})".format(*one["faster"])
            lines.append(
                (", ".join(name.split(" / ")[1:]) or name, f"{one['ms']:.4g}", ratio, f"{one['bytes']:,}", *losses)
            )
        timed = {name: known[name] | {"ms": one["ms"]} for name, one in files.items() if name in known}
        held = _held(task, timed, every.get("pairs", {}), row["noise_floor"], "ms", "time", "faster")
        joint = {name: one for name, one in known.items() if name.startswith(f"{task} / joint /") and "faster" in name}
        if joint and all("miss" in one for one in joint.values()):
            held = f"No joint plan is that fast: {next(iter(joint.values()))['miss']}"
        floor = f"Noise floor {row['noise_floor']:.1%}."
        parts.append(f"### {task}, {row['target']}\n\n{floor}\n\n{_table(heads, lines)}\n{held}")
    return _said(*parts, elsewhere(rows))


def _held(
    task: str, rows: dict[str, Any], pairs: dict[str, Any], slack: float, cost: str, called: str, made_for: str
) -> str:
    """Joint rows made for this cost beside others that cost no more and lose less on validation, said outright.

    `slack`: costs that differ by less are the same.
    """
    own = {name: row for name, row in rows.items() if name.startswith(f"{task} /") and "miss" not in row}
    beside = pairs.get(task, {}).get("joint", {})
    found = []
    joint = [name for name in own if " / joint / " in name and name.endswith(made_for)]
    if not joint:
        return f"No joint file was made for {called} yet."
    for name in joint:
        row = own[name]
        for other, its in own.items():
            less = its["validation_loss"] < (1 - SAME) * row["validation_loss"]
            if " / joint / " not in other and less and its[cost] <= (1 + slack) * row[cost]:
                found.append(_said_of(name, other, called, beside.get(name, {}).get(other)))
    return "\n".join(found) or f"No row beats a joint one made for {called} in both."


def _said_of(name: str, other: str, called: str, interval: list[float] | None) -> str:
    joint, single = (one.partition(" / ")[2] for one in (name, other))
    if interval is None:
        return f"- {joint} is beaten in {called} and in loss by {single}."
    told = f"it loses {interval[0]:.2g} to {interval[1]:.2g} more on validation and test together"
    if interval[0] > 0:
        return f"- {joint} is beaten in {called} and in loss by {single}: {told}."
    return f"- {joint} costs no less in {called} than {single}, and loss does not tell them apart: {told}."


def _distill(rows: dict[str, Any]) -> str:
    lines = []
    for name, row in sorted(rows.items()):
        tuned = row["tuned"]
        settings = f"rate {tuned['learning_rate']:g}, T {tuned['temperature']:g}, alpha {tuned['alpha']:g}"
        drops = (f"{row[which]['test_drop']:+.4f}" for which in ("default", "tuned"))
        better = "tuned" if tuned["test_drop"] < row["default"]["test_drop"] else "default"
        lines.append((name, settings, *drops, better))
    heads = ("task, seed", "tuned on validation", "test drop, default", "test drop, tuned", "better")
    told = (
        "Two distilled epochs after three quarters of the channels are removed; of twelve settings (three rates by "
        "four pairs of T and alpha) the one with the least drop on validation, beside the defaults. Drops against the "
        "net before the cut, of accuracy as a fraction and Poisson log loss in nats; below zero is better than it."
    )
    return _said(f"## Distillation settings\n\n{told}\n\n{_table(heads, lines)}", elsewhere(rows))


def _time(rows: dict[str, Any]) -> str:
    hidden = ("residuals", "commit", "where")
    lines = [
        (name, ", ".join(f"{key} {_shown(value)}" for key, value in (_spread(row) | row).items() if key not in hidden))
        for name, row in rows.items()
    ]
    told = (
        "Of whole models, mixes and the solver's own plans, each left out of the fit in its turn: the root mean square "
        "of how far their foretold times are off, and `within_10%`, the share foretold within 10 %. Times are those of "
        "the fastest of many blocks, as others use this machine too. Ratios stand before their 99 % intervals; "
        "`speedup_ort_fp32` is of the file that was chosen and the model itself in turns."
    )
    return _said(f"## Time\n\n{told}\n\n{_table(('row', 'figures'), lines)}", elsewhere(rows))


def _spread(row: dict[str, Any]) -> dict[str, float]:
    off = row.get("residuals")
    return {"rms": math.sqrt(sum(one**2 for one in off) / len(off))} if off else {}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _said(*parts: str) -> str:
    """Parts with one blank line between, without those that say nothing."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    made = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*made, *(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)]) + "\n"
