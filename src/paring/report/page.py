"""The report: one self-contained HTML page, no network, readable on a phone and in print, light and dark."""

from __future__ import annotations

from html import escape

from paring.core.measurement import Measurement, TargetTiming
from paring.report.results import Run, verdict_sentence

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d9dee3; --paper: #fff; --mark: #0b6e4f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #9aa4ae; --line: #343a41; --paper: #16191d; --mark: #6fd3ae; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 72rem; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.verdict { font-size: 1.1rem; border-left: .25rem solid var(--mark); padding-left: .9rem; margin: 1rem 0 2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .4rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; } th:first-child, td:first-child { text-align: left; }
tr.chosen td { font-weight: 650; } td.text { text-align: left; } pre { overflow-x: auto; font-size: .85rem; }
.soft { color: var(--soft); font-size: .9rem; }
"""
HEADS = ("", "metric", "drop", "interval", "bytes", "params", "MACs", "p50 ms", "p99 ms", "per s", "ratio", "", "on")


def page(run: Run) -> str:
    """The whole page as HTML."""
    title = f"Paring: {run.task}"
    rows = "\n".join(_row(measured, measured.name == run.chosen) for measured in run.rows)
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in HEADS)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body>
<h1>{escape(title)}</h1>
<p class="verdict">{escape(verdict_sentence(run))}</p>
<div class="scroll"><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
<p class="soft">Latency and ratio are of the exported file, timed in interleaved pairs; the ratio is against the
baseline's file on the Target where that one is fastest, with a 99 % interval. Drops are paired over the same
examples, with a 95 % interval. A ratio within the noise floor is called indistinguishable.</p>
<h2>Every engine and precision</h2>
<div class="scroll"><table>
<thead><tr><th scope="col"></th><th scope="col">engine</th><th scope="col">p50 ms</th><th scope="col">p99 ms</th>
<th scope="col">per s</th><th scope="col">metric</th><th scope="col">parity error</th></tr></thead>
<tbody>
{"".join(_timings(measured) for measured in run.rows)}
</tbody></table></div>
<h2>How to reproduce</h2>
<pre>{escape(_reproduce(run))}</pre>
</body></html>
"""


def _row(measured: Measurement, chosen: bool) -> str:
    shown = measured.headline or measured.quality
    interval = "" if shown.drop_interval is None else f"{shown.drop_interval[0]:+.4f} to {shown.drop_interval[1]:+.4f}"
    ratio = measured.speedup
    cells = [
        f"{shown.metric:.4f}",
        f"{shown.drop:+.4f}",
        interval,
        f"{measured.file_bytes:,}",
        f"{measured.num_params:,}",
        f"{measured.macs:,}",
        f"{measured.latency_ms['p50']:.4f}",
        f"{measured.latency_ms['p99']:.4f}",
        f"{measured.throughput_per_s:,.0f}",
        f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        measured.verdict,
        str(measured.target),
    ]
    body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="{"chosen" if chosen else ""}"><td>{escape(measured.name)}</td>{body}</tr>'


def _timings(measured: Measurement) -> str:
    rows = "".join(_timing(measured.name, entry) for entry in measured.targets)
    refused = "".join(
        f"<tr><td>{escape(measured.name)}</td><td>{escape(target)}</td>"
        f'<td class="text" colspan="5">{escape(why)}</td></tr>'
        for target, why in measured.refused.items()
    )
    return rows + refused


def _timing(name: str, entry: TargetTiming) -> str:
    cells = [
        str(entry.target),
        f"{entry.latency_ms['p50']:.4f}",
        f"{entry.latency_ms['p99']:.4f}",
        f"{entry.throughput_per_s:,.0f}",
        "" if entry.metric is None else f"{entry.metric:.4f}",
        "" if entry.parity_error is None else f"{entry.parity_error:.1e}",
    ]
    return f"<tr><td>{escape(name)}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _reproduce(run: Run) -> str:
    lines = [run.command] if run.command else []
    lines += [f"{name} {version}" for name, version in run.versions.items()]
    lines += [f"{name}: {value}" for name, value in run.machine.items()]
    for measured in run.candidates:
        lines += ["", f"# {measured.name}", *(f"  - {step}" for step in measured.recipe)]
    return "\n".join(lines)
