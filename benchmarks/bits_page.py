"""benchmarks/bits.md from benchmarks/results/bits.json."""

from __future__ import annotations

from typing import Any

from kept import elsewhere

COMMAND = "OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python benchmarks/bits.py"
TITLES = {
    "mnist": "MNIST CNN (two convolutions, two Linears)",
    "conversion": "Conversion net on the online-shoppers log (Poisson log loss)",
    "resnet20": "ResNet-20 on CIFAR-10 as JPEGs",
    "encoder": "MiniLM-L6 on SST-2",
}
WAYS = ("nearest", "gptq", "adaround")


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    rows: dict[str, Any] = results["rows"]
    here, commits = results.get("machine", {}), sorted({row["commit"] for row in rows.values()})
    parts = [
        "# Few bits, measured",
        "\n".join(
            [
                f"Command: `{COMMAND}` (commit {', '.join(commits) or 'none'}; seed 0; one thread).",
                f"Machine: {here.get('cpu', '?')}, {here.get('usable_cores', '?')} usable cores.",
                "Versions: "
                + ", ".join(f"{one} {number}" for one, number in results.get("versions", {}).items())
                + ".",
                "",
                "Metrics come from the exported file's answers in ONNX Runtime at its exact setting. Drops are paired",
                "over the same test examples (95 % interval), in points for accuracies, in nats for losses. *Moved*",
                "is the root mean square change of the answers over their own, in percent: it ranks",
                "roundings where the metric cannot tell them apart.",
            ]
        ),
    ]
    for subject, title in TITLES.items():
        own = {key.split(": ", 1)[1]: row for key, row in rows.items() if key.startswith(f"{subject}: ")}
        if own:
            parts += [f"## {title}", *(part for part in (_weights(own, subject), _trained(own, subject)) if part)]
    return "\n\n".join(filter(None, [*parts, elsewhere(rows)])) + "\n"


def _weights(rows: dict[str, Any], subject: str) -> str:
    """Weights alone: the three roundings side by side, one line for each number of bits."""
    kinds = dict.fromkeys(key.rsplit(", ", 1)[0] for key in rows if key.startswith("weights, "))
    lines = [
        f"| weights | {' | '.join(f'{way}: drop' for way in WAYS)} | {' | '.join(f'{way}: moved' for way in WAYS)} |",
        "|---|" + "---|" * (2 * len(WAYS)),
    ]
    for kind in kinds:
        found = [rows[f"{kind}, {way}"]["test"] if f"{kind}, {way}" in rows else None for way in WAYS]
        drops = " | ".join("" if one is None else _drop(one, subject) for one in found)
        moved = " | ".join("" if one is None else f"{100 * one['moved']:.3g} %" for one in found)
        lines.append(f"| {kind.removeprefix('weights, ')} | {drops} | {moved} |")
    return "\n".join([*lines, "", *_verdicts(rows, kinds)]) if kinds else ""


def _verdicts(rows: dict[str, Any], kinds: dict[str, Any]) -> list[str]:
    """What beats what: by the metric on test, and by how far the answers move."""
    lines = []
    for better, worse in (("gptq", "nearest"), ("adaround", "gptq")):
        pairs = [
            (kind.removeprefix("weights, "), rows[f"{kind}, {better}"]["test"], rows[f"{kind}, {worse}"]["test"])
            for kind in kinds
            if f"{kind}, {better}" in rows and f"{kind}, {worse}" in rows
        ]
        lost = [kind for kind, one, other in pairs if one["drop"] > other["drop"]]
        further = [kind for kind, one, other in pairs if one["moved"] >= other["moved"]]
        lines.append(
            f"- {better} against {worse}: the metric is as good or better in {len(pairs) - len(lost)} of {len(pairs)}"
            f"{_but(lost)}; the answers move less in {len(pairs) - len(further)} of {len(pairs)}{_but(further)}."
        )
    return lines


def _but(kinds: list[str]) -> str:
    return f" (not: {'; '.join(kinds)})" if kinds else ""


def _trained(rows: dict[str, Any], subject: str) -> str:
    """The rows that train, and the share of the loss that training takes back."""
    own = {key: row for key, row in rows.items() if not key.startswith("weights, ")}
    lines = ["| row | metric | drop | file |", "|---|---|---|---|"]
    for key, row in own.items():
        seen = row["test"]
        lines.append(f"| {key} | {seen['metric']:.4f} | {_drop(seen, subject)} | {row['file_bytes']:,} |")
    said = [""]
    for bits in (4, 3):
        pair = [own.get(f"inputs in 8 bits, {bits} bits, {way}") for way in ("nearest", "trained")]
        if pair[0] is not None and pair[1] is not None:
            lost, left = (one["test"]["drop"] for one in pair)
            share = f"{100 * (1 - left / lost):.0f} %" if lost > 0 else "nothing to recover"
            said.append(f"- {bits} bits: training recovers {share} of what rounding alone loses on test.")
    return "\n".join(lines + said) if own else ""


def _drop(found: dict[str, Any], subject: str) -> str:
    """In points, or in the metric's unit."""
    factor, digits = (1.0, 4) if subject == "conversion" else (100.0, 2)
    low, high = (factor * end for end in found["interval"])
    return f"{factor * found['drop']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
