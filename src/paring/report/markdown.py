"""`report.md`: the run for a pull request."""

from __future__ import annotations

from paring.core.measurement import Measurement
from paring.report.last_round import last_round_markdown
from paring.report.reproduce import plain, recipe_text
from paring.report.results import Run, refused_lines, verdict_sentence
from paring.report.roles import role, shown
from paring.report.words import digits, metric_text, scaled, signed

HEADS = ("candidate", "metric", "drop", "median ms", "p99 ms", "times as fast", "verdict", "file", "MACs", "engine")


def markdown(run: Run) -> str:
    """A verdict, a table, what was declined, and how to reproduce, as GitHub shows them."""
    heads = [run.baseline.metric_name if head == "metric" else head for head in HEADS]
    left = {"candidate", "verdict", "engine"}
    rule = ["---" if head in left else "---:" for head in HEADS]
    rows = [_row(one, run) for one in run.rows]
    parts = [f"### Paring: {run.task}", verdict_sentence(run), *([run.miss] if run.miss else [])]
    parts.append("\n".join(_line(cells) for cells in (heads, rule, *rows)))
    parts.append(
        f"{run.baseline.metric_name} and drop on {shown(run.baseline).split}; the drop with its 95 % interval, the "
        "ratio to the baseline's own file with its 99 % interval."
    )
    if round_ := last_round_markdown(run):
        parts.append(round_)
    declined = [
        f"- {one.name}: `{entry.layer}`: {entry.reason}"
        for one in run.candidates
        if one.name in run.details
        for entry in run.details[one.name].declined
    ]
    if declined:
        parts.append("\n".join(["Targeted, and left as they are:", "", *declined]))
    if refused := refused_lines(run):
        parts.append("\n".join(["Not run there:", "", *(f"- {_escaped(line)}" for line in refused)]))
    return "\n\n".join([*parts, _reproduce(run)]) + "\n"


def _row(one: Measurement, run: Run) -> list[str]:
    quality, ratio, kind = shown(one), one.speedup, role(one, run.chosen)
    bounds = quality.drop_interval
    drop = signed(quality.drop) + ("" if bounds is None else f" ({signed(bounds[0])} to {signed(bounds[1])})")
    name = one.name + (" (outside the budget)" if kind == "outside" else "")
    cells = [
        name,
        metric_text(quality.metric),
        "" if kind == "baseline" else drop,
        digits(one.latency_ms["p50"]),
        digits(one.latency_ms["p99"]),
        "" if kind == "baseline" else f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        one.verdict,
        scaled(one.file_bytes, "B"),
        scaled(one.macs),
        str(one.target),
    ]
    return (
        [f"**{cell}**" if cell else "" for cell in map(_escaped, cells)]
        if kind == "chosen"
        else list(map(_escaped, cells))
    )


def _reproduce(run: Run) -> str:
    facts = [f"{key} {plain(key, value)}" for key, value in (*run.machine.items(), *run.versions.items())]
    recipes = [f"# {one.name}\n{recipe_text(one, run).strip()}" for one in run.candidates]
    command = [f"```sh\n{run.command}\n```"] if run.command else []
    body = [*command, *(f"```yaml\n{recipe}\n```" for recipe in recipes), "; ".join(facts)]
    return "\n\n".join(["<details><summary>How to reproduce</summary>", *body, "</details>"])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
