"""Writes benchmarks/distill.md from benchmarks/results/distill.json."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from kept import elsewhere
from scipy import stats

Rows = dict[str, dict[str, Any]]


def page(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    rows: Rows = results["rows"]
    sections = (_mnist, _objectives, _conversion, _language, _text)
    parts = [HEAD, *(section(rows) for section in sections), _foot(results), elsewhere(rows)]
    return "\n".join(part for part in parts if part)


def interval(values: list[float]) -> tuple[float, float, float]:
    """(mean, low, high): Student's t over seeds, 95 %; the mean alone where there is one seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _seeds(rows: Rows, group: str, name: str) -> dict[int, dict[str, Any]]:
    found = {}
    for key, row in rows.items():
        one, label, seed = key.split(" | ")
        if (one, label) == (group, name):
            found[int(seed)] = row
    return dict(sorted(found.items()))


def _names(rows: Rows, group: str) -> list[str]:
    return list(dict.fromkeys(key.split(" | ")[1] for key in rows if key.startswith(f"{group} | ")))


def _percent(values: list[float]) -> str:
    mean, low, high = interval(values)
    return f"{100 * mean:.2f}" + ("" if np.isnan(low) else f" ({100 * low:.2f} to {100 * high:.2f})")


def _gain(rows: Rows, group: str, name: str, alone: str, split: str = "test") -> str:
    mine, base = _seeds(rows, group, name), _seeds(rows, group, alone)
    shared = [seed for seed in mine if seed in base]
    if name == alone or not shared:
        return ""
    mean, low, high = interval([100 * (mine[seed][split] - base[seed][split]) for seed in shared])
    return f"{mean:+.2f}" + ("" if np.isnan(low) else f" ({low:+.2f} to {high:+.2f})")


def _accuracy_table(rows: Rows, group: str, alone_of: Any) -> list[str]:
    lines = [
        "| row | seeds | parameters | test accuracy, % | gain over the student alone, points | and on validation |",
        "|---|---|---|---|---|---|",
    ]
    for name in _names(rows, group):
        found = _seeds(rows, group, name)
        tests = [row["test"] for row in found.values() if "test" in row]
        if tests:
            params = next(iter(found.values()))["params"]
            alone = alone_of(name)
            gains = " | ".join(_gain(rows, group, name, alone, on) if alone else "" for on in ("test", "validation"))
            lines.append(f"| {name} | {len(tests)} | {params:,} | {_percent(tests)} | {gains} |")
    return [*lines, ""]


def _mnist(rows: Rows) -> str:
    if not _names(rows, "mnist"):
        return ""
    table = _accuracy_table(
        rows,
        "mnist",
        lambda name: re.sub("distilled( by dist)?( at 4)?", "alone", name) if name.startswith("student") else None,
    )
    return "\n".join(["## MNIST: a convolutional teacher, a fully connected student", "", MNIST, "", *table])


def _objectives(rows: Rows) -> str:
    if not _names(rows, "objectives"):
        return ""
    table = _accuracy_table(rows, "objectives", lambda _: "alone")
    return "\n".join(["## Every objective, on MNIST with 20,000 images", "", OBJECTIVES, "", *table])


def _alone_text(name: str) -> str | None:
    """The row of the same student, phrases and epochs, alone."""
    start, _, rest = name.partition(", ")
    thin = "thin " if start.startswith("thin ") else ""
    return f"{thin}student alone, {rest}" if "student" in start else None


def _text(rows: Rows) -> str:
    if not _names(rows, "text"):
        return ""
    table = _accuracy_table(rows, "text", _alone_text)
    teacher = _seeds(rows, "text", "teacher")
    kept = []
    for name in _names(rows, "text"):
        tests = [row["test"] for row in _seeds(rows, "text", name).values() if "test" in row]
        if teacher and "student" in name and tests:
            params = next(iter(_seeds(rows, "text", name).values()))["params"]
            kept.append(
                f"- {name}: keeps {_percent([t / teacher[0]['test'] for t in tests])} % of the teacher's accuracy with "
                f"{100 * (1 - params / teacher[0]['params']):.1f} % fewer parameters of the whole model"
            )
    return "\n".join(
        [
            "## SST-2: five of MiniLM-L6's layers, thinner, and the words that occur",
            "",
            TEXT,
            "",
            *table,
            *kept,
            *_clock(rows),
            "",
        ]
    )


def _clock(rows: Rows) -> list[str]:
    found = rows.get("text | clock | 0")
    if found is None:
        return []
    ratios = [
        f"{target} {one['speedup']:.2f}x ({one['low']:.2f} to {one['high']:.2f})"
        for target, one in found.items()
        if isinstance(one, dict)
    ]
    return [
        "",
        f"The student's file against its teacher's, one sentence of {found['tokens']} tokens "
        f"(`python benchmarks/distill.py --time`, 99 % intervals): {'; '.join(ratios)}.",
    ]


def _language(rows: Rows) -> str:
    if not _names(rows, "language"):
        return ""
    lines = [
        "| row | seeds | parameters | perplexity a character | gain over the student alone, nats |",
        "|---|---|---|---|---|",
    ]
    base = _seeds(rows, "language", "student alone")
    for name in _names(rows, "language"):
        found = _seeds(rows, "language", name)
        tests, params = [row["test"] for row in found.values()], next(iter(found.values()))["params"]
        gain = ""
        if name.startswith("student d"):
            mean, low, high = interval([base[seed]["test"] - found[seed]["test"] for seed in found if seed in base])
            gain = f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append(f"| {name} | {len(tests)} | {params:,} | {np.exp(np.mean(tests)):.3f} | {gain} |")
    return "\n".join(["## A causal language model, token by token", "", LANGUAGE, "", *lines, ""])


def _conversion(rows: Rows) -> str:
    names = _names(rows, "conversion")
    if not names:
        return ""
    lines = [
        "| log: row | folds | parameters outside embeddings | Poisson log loss | share of the teacher's gain kept, % "
        "| calibration | AUC |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        found = _seeds(rows, "conversion", name)
        teacher = _seeds(rows, "conversion", f"{name.split(':')[0]}: teacher")
        cells = [interval([row[key] for row in found.values()]) for key in ("test", "calibration", "auc")]
        loss, calibration, ranking = (f"{mean:.4f} ({low:.4f} to {high:.4f})" for mean, low, high in cells)
        params = next(iter(found.values()))["params_outside_embeddings"]
        lines.append(
            f"| {name} | {len(found)} | {params:,} | {loss} | {_share(found, teacher)} | {calibration} | {ranking} |"
        )
    return "\n".join(["## Conversion models, cross-validated", "", CONVERSION, "", *lines, ""])


def _share(found: dict[int, dict[str, Any]], teacher: dict[int, dict[str, Any]]) -> str:
    """Pooled over folds: sum of the student's gains over the constant rate by the sum of the teacher's."""
    seeds = [seed for seed in found if seed in teacher]
    mine = np.array([found[seed]["constant"] - found[seed]["test"] for seed in seeds])
    theirs = np.array([teacher[seed]["constant"] - teacher[seed]["test"] for seed in seeds])
    share = mine.sum() / theirs.sum()
    if len(seeds) < 2:
        return f"{100 * share:.1f}"
    # The ratio of two means over paired folds, by its residuals (Fieller's first order).
    half = (
        stats.t.ppf(0.975, len(seeds) - 1) * np.std(mine - share * theirs, ddof=1) / np.sqrt(len(seeds)) / theirs.mean()
    )
    return f"{100 * share:.1f} ({100 * (share - half):.1f} to {100 * (share + half):.1f})"


def _foot(results: dict[str, Any]) -> str:
    commits = sorted({row["commit"] for row in results["rows"].values()})
    return (
        f"Command: `python benchmarks/distill.py`. Commits {', '.join(commits)}; {results['machine']['cpu']}, "
        "one core; "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + ". Seeds are the number behind the last bar of each key in results/distill.json. Intervals are 95 %, "
        "Student's t over seeds, paired where two rows are compared.\n"
    )


HEAD = "# Distillation, measured\n\nWritten from `results/distill.json` by `benchmarks/distill.py`.\n"
MNIST = (
    "Teacher: two convolutions (32, 64), 512 hidden, 8 epochs on images moved by up to 2 pixels. Student: "
    "784-400-100-10. Alone and distilled (temperature 4, alpha 0.9) at equal epochs, rates and seeds; "
    "*moved copies* are the training images moved by up to 2 pixels, which the teacher answers too (`paring teach`)."
)
OBJECTIVES = (
    "A thin convolutional student (8, 16 channels, 32 hidden) of the same teacher, 4 epochs, learning rate 2e-3, "
    "settings as they come. *No response* joins the objective with the labels alone."
)
CONVERSION = (
    "Five folds (three to train, one to validate, one to test), a teacher of 256-128 behind embeddings and a student "
    "of 48-24. The share kept is the student's gain in Poisson log loss over the training rate, by its teacher's."
)
LANGUAGE = (
    "Characters of SST-2 phrases; a causal convolutional net of width 96 taught on 12,000 phrases, a student of width "
    "24 on 4,000 of them, 6 epochs, `distill.response` at temperature 1 and alpha 0.7 over what is no padding."
)
TEXT = (
    "Teacher: `weights/minilm-l6-sst2`, 6 layers. Student: `prune.vocabulary` (words of the training phrases), "
    "`student.shrink` to five layers, `prune.neurons` to half of the inner neurons (*thin*: to a third, and words that "
    "are gone read as the nearest ones left), then trained in bf16 autocast on a subset of the training phrases. *Of "
    "half the layers*: every second layer at full width instead. *Between layers*: `distill.features` from each layer "
    "to the one it was, beside `distill.response`. Test is GLUE's dev set (872 sentences), validation 2,000 others "
    "(500 for all but the thin). With 2,048 labelled phrases (`--num-train 2048 --epochs 8`) the teacher helps, most "
    "of all between layers; with 32,768 the thicker student is as good without it."
)
