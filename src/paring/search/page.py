"""What the search found, as a page of text beside the report: the front, the prices, every trial and its fate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from paring.report.last_round import last_round_markdown
from paring.report.results import Run
from paring.search.trials import Trial
from paring.store import write_text


def write_page(folder: Path, run: Run, trials: Sequence[Trial], front: Sequence[str], ended: str) -> None:
    """Writes search.md."""
    fates = ", ".join(f"{count} {outcome}" for outcome, count in Counter(one.outcome for one in trials).most_common())
    lines = [f"# Search: {run.task}", "", f"{len(trials)} trials ({fates}); ended by: {ended}.", ""]
    lines += [f"Chosen: {run.chosen}." if run.chosen else run.miss, "", "## The front, on validation", ""]
    by_name = {one.name: one for one in trials}
    lines += _table(
        ("candidate", "ms", "bytes", "drop", "speedup"),
        [
            (
                name,
                *(f"{by_name[name].measured.get(key, float('nan')):.5g}" for key in ("ms", "bytes", "drop", "speedup")),
            )
            for name in front
            if name in by_name
        ],
    )
    if round_ := last_round_markdown(run):
        lines += ["", "## The last round", "", round_]
    planned = [one for one in trials if one.foretold]
    if planned:
        lines += ["", "## Foretold and measured", ""]
        heads = (
            "candidate",
            "gap",
            "ms foretold",
            "ms",
            "bytes foretold",
            "bytes",
            "loss foretold",
            "KL",
            "per ms",
            "per kB",
        )
        lines += _table(heads, [_compared(one) for one in planned])
        lines += [
            "",
            "Loss and prices are those of the allocation before any recovery; prices are loss per unit. "
            "Where a time was asked for, `ms foretold` was taken of the plan's shapes while it was chosen.",
        ]
    lines += ["", "## Every trial", ""]
    rows = [(str(one.number), one.name, one.outcome, f"{one.seconds:.1f}", one.message) for one in trials]
    lines += _table(("no", "candidate", "outcome", "s", "why"), rows)
    write_text(folder / "search.md", "\n".join(lines) + "\n")


def _compared(one: Trial) -> tuple[str, ...]:
    told, seen = one.foretold, one.measured
    figures = (
        told["gap"],
        told["ms"],
        seen["ms"],
        told["num_bytes"],
        seen["bytes"],
        told["loss"],
        seen.get("kl", float("nan")),
        told["loss_per_ms"],
        told["loss_per_kb"],
    )
    return (one.name, *(f"{figure:.4g}" for figure in figures))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    made = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return made + [f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in rows]
