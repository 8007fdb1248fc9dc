"""The report: one self-contained HTML page, no network, readable on a phone and in print, light and dark."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib.resources import files

from paring.core.measurement import Measurement
from paring.report.clock import distributions, ratios
from paring.report.edits import edit_tables
from paring.report.floor import floors
from paring.report.html import Child, Html, join, tag
from paring.report.last_round import last_round_table
from paring.report.memory import memory_section
from paring.report.pareto import trade_plots
from paring.report.reproduce import reproduce
from paring.report.results import Run, verdict_sentence
from paring.report.roles import shown
from paring.report.slices import slice_table
from paring.report.tables import candidates_table, targets_table
from paring.report.training import training_section
from paring.report.words import digits, metric_text, scaled, signed, times
from paring.report.zeros import zeros_tables

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
HEAD = """<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="generator" content="Paring">
<link rel="icon" href="data:,">"""
SORT = tag("span", " A click on a heading sorts.", class_="onscreen")
TRADE = (
    "Up and to the left is better. Bars are intervals: of the metric 95 %, paired over the same examples; of the "
    "latency 99 %, from the ratio to the baseline. The line joins the files that no other beats on both axes."
)
CLOCK = (
    "Each exported file is timed in blocks that alternate with the baseline's own file, on pinned cores. The bar is "
    "the 99 % interval of the ratio; grey is how far the baseline strays from itself in the same run. A bar that "
    "reaches into the grey is called indistinguishable, and so is a claim that the processor's clock contradicts."
)
CURVES = (
    "All timed calls. Filled: the file; grey: the baseline in the same run; the line over it: the baseline once more, "
    "whose distance from the grey is noise. Each curve is scaled to its own peak; uprights mark the median and p99."
)
EDITS = (
    "Sparsity and non-zeros are of the weights as they stand; bytes are those of the exported file, so that masked "
    "weights count in full."
)


def page(run: Run) -> str:
    """The whole page as HTML."""
    title = f"Paring: {run.task}"
    sections = (
        _section("trade", "What each file trades", TRADE, trade_plots(run)),
        _section("candidates", "All candidates", join(_budget(run), SORT), candidates_table(run)),
        _section("clock", "Faster, or noise?", CLOCK, ratios(run), last_round_table(run)),
        _section("timings", "How long a call takes", CURVES, distributions(run)),
        _section("floor", "How far from the limit", None, floors(run)),
        _section("classes", "Class by class", None, slice_table(run)),
        _section("layers", "Layer by layer", EDITS, edit_tables(run)),
        _section("zeros", "What the zeros would save", None, found) if (found := zeros_tables(run)) else Html(""),
        _section("training", "Epoch by epoch", None, training_section(run)),
        _section("memory", "Memory, start and throughput", None, memory_section(run)),
        _section("engines", "Every engine and precision", None, targets_table(run), _refused(run)),
        _section("reproduce", "How to reproduce", None, reproduce(run)),
    )
    head = join(
        Html(HEAD),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", title),
        tag("style", Html(_asset("page.css"))),
    )
    body = tag("body", _masthead(run), tag("main", *sections, id="main"), tag("script", Html(_asset("page.js"))))
    return f'<!doctype html>\n<html lang="en">\n{tag("head", head)}\n{body}\n</html>\n'


def _masthead(run: Run) -> Html:
    return tag(
        "header",
        tag("a", "To the results", href="#main", class_="skip"),
        tag("p", tag("b", "Paring"), f" {run.task}", class_="brand"),
        tag("h1", _verdict(run), class_="verdict"),
        tag("p", run.miss, class_="miss") if run.miss else None,
        _tiles(run),
    )


def _verdict(run: Run) -> Html:
    """The sentence, its name strong and what stands in brackets quieter."""
    sentence = verdict_sentence(run)
    name, parts = "", sentence
    if run.chosen is not None and sentence.startswith(run.chosen):
        name, parts = run.chosen, sentence[len(run.chosen) :]
    pieces = re.split(r"( \([^)]*\))", parts)
    softer = (tag("span", piece, class_="aside") if piece.startswith(" (") else piece for piece in pieces)
    return join(tag("strong", name) if name else None, *softer)


def _tiles(run: Run) -> Html:
    base = run.baseline
    best = next((one for one in run.candidates if one.name == run.chosen), base)
    quality, before = shown(best), shown(base)
    tiles = [
        _tile("latency, median", f"{digits(best.latency_ms['p50'])} ms", f"{digits(base.latency_ms['p50'])} ms",
              _times(best, base)),
        _tile("file", scaled(best.file_bytes, "B"), scaled(base.file_bytes, "B"),
              times(base.file_bytes / best.file_bytes, "smaller", "larger")),
        _tile(f"{base.metric_name} on {quality.split}", metric_text(quality.metric), metric_text(before.metric),
              _drop(best)),
        _tile("work a call", f"{scaled(best.macs)} MACs", f"{scaled(base.macs)} MACs", None),
        _tile("throughput", f"{best.throughput_per_s:,.0f} per s", f"{base.throughput_per_s:,.0f} per s", None),
    ]  # fmt: skip
    if best.peak_memory_bytes is not None and base.peak_memory_bytes is not None:
        tiles.append(
            _tile("peak memory", scaled(best.peak_memory_bytes, "B"), scaled(base.peak_memory_bytes, "B"), None)
        )
    return tag("dl", *tiles, class_="tiles")


def _tile(name: str, now: str, before: str, change: str | None) -> Html:
    was = tag("dd", f"baseline {before}", class_="was")
    return tag("div", tag("dt", name), tag("dd", now, class_="now"), was, tag("dd", change) if change else None)


def _times(best: Measurement, base: Measurement) -> str | None:
    if best is base:
        return None
    if best.verdict == "indistinguishable":
        return "indistinguishable"
    ratio = best.speedup.ratio
    return f"{ratio if best.verdict == 'faster' else 1 / ratio:.2f} times {best.verdict}"


def _drop(best: Measurement) -> str | None:
    bounds = shown(best).drop_interval
    if bounds is None or best.verdict == "baseline":
        return None
    return f"drop {signed(bounds[0])} to {signed(bounds[1])}"


def _budget(run: Run) -> str:
    limits = [
        f"{field.name.replace('_', ' ')} {getattr(run.budget, field.name):,}"
        for field in fields(run.budget)
        if field.name.startswith(("max_", "min_")) and getattr(run.budget, field.name) is not None
    ]
    budget = f"Budget: {', '.join(limits)}" if limits else "No budget was set"
    quality = shown(run.baseline)
    return (
        f"{budget}; the choice saw {run.baseline.quality.split} only. Metric and drop here are on {quality.split}, "
        f"{quality.num_examples:,} examples; the drop with its 95 % interval, the speed with its 99 %."
    )


def _refused(run: Run) -> Html | None:
    items = [
        tag("li", tag("b", one.name), f" on {target}: {why}") for one in run.rows for target, why in one.refused.items()
    ]
    if not items:
        return None
    return join(tag("p", "Refused, because the file does not answer there as the model does:", class_="lead-in"),
                tag("ul", *items, class_="declined"))  # fmt: skip


def _section(name: str, title: str, lead: Child, *content: Html | None) -> Html:
    head = tag("h2", title, id=f"{name}-title")
    said = tag("p", lead, class_="lead") if lead else None
    return tag("section", head, said, *content, id=name, aria_labelledby=f"{name}-title")


def _asset(name: str) -> str:
    return files("paring.report").joinpath("assets", name).read_text(encoding="utf-8")
