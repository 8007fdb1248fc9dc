"""The tables of a study as CSV, its figures as SVG."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from paring.report.clock import distributions
from paring.report.pareto import trade_plots
from paring.report.results import Run
from paring.store import write_text

COLUMNS = (
    "part", "name", "metric_name", "metric", "drop", "num_params", "macs", "file_bytes", "engine", "precision",
    "throughput_per_s", "verdict",
)  # fmt: skip
SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


def write_figures(out: Path, runs: Mapping[str, Run], rows: Iterable[Mapping[str, Any]]) -> None:
    """latency_results/latency.csv and timings a part; other_figures/ with what each file trades, a part."""
    write_text(out / "latency_results" / "latency.csv", _table(rows))
    for name, run in runs.items():
        word = name.replace(" ", "-")
        for place, svg in enumerate(SVG.findall(str(trade_plots(run)))):
            axis = ("latency", "bytes", "macs")[place]
            write_text(out / "other_figures" / f"{word}-metric-against-{axis}.svg", _alone(svg))
        for place, svg in enumerate(SVG.findall(str(distributions(run)))[:1]):
            write_text(out / "latency_results" / f"{word}-timings{place or ''}.svg", _alone(svg))


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "p50_ms", "p90_ms", "p99_ms", "speedup", "speedup_low", "speedup_high", "speedup_eager"])
    for row in rows:
        latency, speed, eager = row["latency_ms"], row["speedup"], row["speedup_eager"]
        figures = [latency["p50"], latency["p90"], latency["p99"], speed["ratio"], speed["low"], speed["high"]]
        writer.writerow([row[name] for name in COLUMNS] + figures + [eager["ratio"] if eager else ""])
    return text.getvalue()


def _alone(svg: str) -> str:
    """A figure of the page as a file of its own, its colours inside."""
    style = (files("paring.report") / "assets" / "page.css").read_text(encoding="utf-8")
    head, rest = svg.split(">", 1)
    if "xmlns=" not in head:
        head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}><style><![CDATA[{style}]]></style>{rest}\n"
