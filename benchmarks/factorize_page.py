"""benchmarks/factorize.md from benchmarks/results/factorize.json."""

from __future__ import annotations

from typing import Any

from kept import elsewhere

TITLES = {
    "mnist": "MNIST, fully connected net 784-512-256-128-10",
    "text": "MiniLM-L6 on SST-2, feed-forward layers",
    "vgg": "VGG-like net on CIFAR-10 as JPEGs",
}
COMMAND = "OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python benchmarks/factorize.py"


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    rows: dict[str, Any] = results["rows"]
    parts = [_head(results)]
    if "cost" in rows:
        parts.append(_cost(rows["cost"]))
    for subject, title in TITLES.items():
        own = {key.split(": ", 1)[1]: row for key, row in rows.items() if key.startswith(f"{subject}: ")}
        if own:
            parts += [f"## {title}", _table(own), _pairs(own), _dense(own)]
    return "\n\n".join(part for part in [*parts, elsewhere(results["rows"])] if part) + "\n"


def _head(results: dict[str, Any]) -> str:
    here, commits = results.get("machine", {}), sorted({row["commit"] for row in results["rows"].values()})
    blocks, at = results.get("blocks"), ", ".join(commits) or "none"
    cores, flags = here.get("usable_cores", "?"), ", ".join(here.get("flags", []))
    return "\n".join(
        [
            "# Low rank, measured",
            "",
            f"Command: `{COMMAND}`, then again with `--time` (commit {at}; seed 0; one thread; batch 1; {blocks} "
            "interleaved blocks a row).",
            f"Machine: {here.get('cpu', '?')}, {cores} usable cores, {flags}.",
            "Versions: "
            + ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items())
            + ".",
            "",
            "Speed is the exported file against the baseline's own file in the same engine and precision (99 % "
            "interval); a ratio inside",
            "the noise floor is called indistinguishable. Drops are in points, paired over the same examples (95 %"
            " interval), against the",
            "baseline's file in ONNX Runtime fp32, and include what the precision costs. A plain factorization is not "
            "timed: it has the shapes of the whitened one of the same ratio.",
        ]
    )


def _cost(row: dict[str, Any]) -> str:
    off = abs(row["measured_loss"] / row["predicted_loss"] - 1)
    return (
        "## Cost\n\n"
        f"A 768 x 3072 layer with 4,096 samples: {row['wall_s']:.1f} s wall, {row['cpu_s']:.1f} s of one core, "
        f"{row['peak_extra_bytes'] / 2**20:.0f} MiB above the inputs ({row['in_squares']:.1f} matrices of 3072 x 3072 "
        f"in float64). Predicted and measured loss differ by {off:.0e}."
    )


def _table(rows: dict[str, Any]) -> str:
    lines = [
        "| row | target | file | MACs | speed-up | layers alone | validation drop | test drop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        size = f"{row['file_bytes'] / row['baseline_file_bytes']:.2f}x"
        for target in row["targets"]:
            if "refused" in target:
                lines.append(f"| {name} | {target['target']} | {size} | | refused | | {target['refused'][:60]} | |")
                continue
            alone = _speed(target["layers"]) if "layers" in target else ""
            drops = " | ".join(_drop(target[split]) for split in ("validation", "test"))
            macs = f"{row['macs'] / 1e6:.2f} M"
            lines.append(f"| {name} | {target['target']} | {size} | {macs} | {_speed(target)} | {alone} | {drops} |")
    return "\n".join(lines)


def _speed(timed: dict[str, Any]) -> str:
    if "speedup" not in timed:
        return "not timed"
    ratio, low, high = timed["speedup"]
    word = "" if timed["verdict"] == "faster" else f" {timed['verdict']}"
    return f"{ratio:.2f}x [{low:.2f}, {high:.2f}]{word}, {timed['p50_ms']:.4g} ms"


def _drop(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{100 * found['drop']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def _pairs(rows: dict[str, Any]) -> str:
    """Plain against whitened at equal bytes, where both stand."""
    lines = []
    for name, whitened in rows.items():
        plain = rows.get(name.replace("whitened", "plain", 1))
        if plain is None or plain is whitened:
            continue
        words = name.removeprefix("whitened").lstrip(", ")
        for split in ("validation", "test"):
            figures = [_first(row)[split]["metric"] for row in (plain, whitened)]
            won = "whitened" if figures[1] > figures[0] else "plain" if figures[1] < figures[0] else "equal"
            lines.append(f"| {words} | {split} | {figures[0]:.4f} | {figures[1]:.4f} | {won} |")
    if not lines:
        return ""
    return "\n".join(
        ["Metric at equal bytes:", "", "| row | split | plain | whitened | better |", "|---|---|---|---|---|", *lines]
    )


def _first(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(target for target in row["targets"] if "refused" not in target)
    return found


def _dense(rows: dict[str, Any]) -> str:
    lines = [
        f"- {name}: `{layer}` stays dense: {reason}" for name, row in rows.items() for layer, reason in row["declined"]
    ]
    return "\n".join(["Layers left dense, as the recipes said:", "", *lines]) if lines else ""
