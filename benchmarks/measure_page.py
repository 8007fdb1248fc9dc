"""benchmarks/measure.md from benchmarks/results/measure.json."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

HEAD = """# The measuring, measured

Command: `python benchmarks/measure.py` (seeds 0 to 99; one thread; batch 1; 40 blocks over 4 openings of each file;
99 % intervals).
Machine: {cpu}, {cores} usable cores, {flags}, busy with other work all the while.
Versions: {versions}.
"""


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    here, rows = results["machine"], results["rows"]
    known = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [HEAD.format(cpu=here["cpu"], cores=here["usable_cores"], flags=", ".join(here["flags"]), versions=known)]
    for section, title, text in (
        ("same", "A file against a copy of itself", "What may be said is *indistinguishable*."),
        (
            "slowed",
            "Ten convolutions of 32 channels against eleven",
            "A tenth more work; what should be said is *slower*.",
        ),
        (
            "linears",
            "Ten Linears of 128 against eleven, batch 64",
            "The same in Linears whose weights (0.7 MB) lie well inside the second-level cache.",
        ),
        (
            "edge",
            "Ten Linears of 256 against eleven, batch 1",
            "The same where the weights (2.6 MB) are about as large as that cache.",
        ),
        (
            "overloaded",
            "Ten convolutions against eleven, beside eight processes that never rest",
            "The first benchmark again on an overloaded machine.",
        ),
    ):
        if rows.get(section):
            parts.append(f"## {title}\n\n{text}\n\n{_verdicts(rows[section])}")
    if rows.get("loadgen"):
        parts.append(f"## p90 by MLPerf LoadGen (SingleStream) and by Paring\n\n{_loadgen(rows['loadgen'])}")
    if rows.get("profile"):
        parts.append(
            "## Time attributed to named modules\n\nA 6-layer BERT, hidden size 384, 64 tokens, batch 1.\n\n"
            + _profile(rows["profile"])
        )
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _verdicts(rows: dict[str, Any]) -> str:
    lines = ["| engine | runs | indistinguishable | slower | faster | median ratio | median floor |"]
    lines.append("|---|---|---|---|---|---|---|")
    engines = dict.fromkeys(name.rpartition(", ")[0] for name in rows)
    for engine in engines:
        own = [row for name, row in rows.items() if name.startswith(f"{engine}, ")]
        said = Counter(row["verdict"] for row in own)
        ratio, floor = median(row["ratio"][1] for row in own), median(row["noise_floor"] for row in own)
        counts = " | ".join(str(said[word]) for word in ("indistinguishable", "slower", "faster"))
        lines.append(f"| {engine} | {len(own)} | {counts} | {ratio:.3f} | {floor:.1%} |")
    loads = [row["load_average"] for row in rows.values()]
    return "\n".join([*lines, "", f"Load average of the machine meanwhile: {min(loads):.1f} to {max(loads):.1f}."])


def _loadgen(rows: dict[str, Any]) -> str:
    lines = ["| ten Linears of | ours, ms | LoadGen, ms | LoadGen / ours |", "|---|---|---|---|"]
    for name, row in rows.items():
        ours, theirs = row["ours_p90_ms"], row["loadgen_p90_ms"]
        lines.append(f"| {name} | {ours:.4f} | {theirs:.4f} | {theirs / ours:.3f} |")
    return "\n".join([*lines, "", "Medians over seven turns each, one after the other in one process."])


def _profile(rows: dict[str, Any]) -> str:
    lines = ["| engine | attributed | of a call of, ms | operators' share of the call |", "|---|---|---|---|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['attributed']:.1%} | {row['call_ms']:.2f} | {row['covered']:.0%} |")
    return "\n".join(lines)
