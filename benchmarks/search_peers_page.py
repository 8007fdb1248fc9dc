"""benchmarks/search_peers.md from benchmarks/results/search_peers.json."""

from __future__ import annotations

from typing import Any

from kept import elsewhere

HEAD = """# The search against the peers' own

Command: `python benchmarks/search_peers.py`, then with `--time` on a quiet machine (seed 0; {minutes:g} minutes each).
Machine: {cpu}, {cores} usable cores, {flags}.
Versions: {versions}.

Each is asked for the fastest file that loses at most half a percent of the metric on validation: NNCF by
`quantize_with_accuracy_control` on OpenVINO, Olive by its search over ONNX Runtime's quantizers (TPE, our score and a
timed call), neural-compressor by `autotune` over its static settings. Every search had one core and another process
beside it on the other; a candidate begun in time is finished and judged. All files are judged here on validation and
test in every engine, and timed in turns at batch 1 on one core, each in the engine and precision that runs it fastest.
Drops are of the metric (accuracy as a fraction, Poisson log loss in nats), in the engine of `fastest in`. `Paring,
surely` holds the upper end of the drop's 95 % interval on validation within the limit (`--use-interval`), where the
others hold the drop itself.
"""
OURS = ("Paring", "Paring, surely")


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    here = results.get("machine", {"cpu": "?", "usable_cores": "?", "flags": []})
    known = ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items())
    head = HEAD.format(
        minutes=results.get("minutes", 10),
        cpu=here["cpu"],
        cores=here["usable_cores"],
        flags=", ".join(here["flags"]),
        versions=known,
    )
    nets = list(dict.fromkeys(name.partition(": ")[0] for name in results["rows"]))
    parts = [head, *(_net(net, results) for net in nets), elsewhere(results["rows"])]
    return "\n".join(part for part in parts if part) + "\n"


def _net(net: str, results: dict[str, Any]) -> str:
    rows = {name.partition(": ")[2]: row for name, row in results["rows"].items() if name.startswith(f"{net}: ")}
    rows = dict(sorted(rows.items(), key=lambda pair: pair[0] in OURS))
    timed = results["timed"].get(net)
    lines = [
        f"## {net}\n",
        "| by | bytes | drop, validation | drop, test | fastest in | ms | Paring's file beside it "
        "| the sure one beside it | searched for |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        seconds = f"{row['seconds']:.0f} s"
        if "miss" in row:
            lines.append(f"| {name} | {row['miss']} | | | | | | | {seconds} |")
            continue
        best = timed["best"].get(name) if timed else None
        seen = _seen(row, best)
        drops = (
            f"{seen[split]['drop']:+.4f} ({_interval(seen[split]['interval'])})" for split in ("validation", "test")
        )
        target, ms = ("", "") if best is None else (best.partition(" | ")[2], f"{timed['ms'][best]:.4g}")
        cells = [name, f"{row['bytes']:,}", *drops, target, ms, *_beside(timed, name), seconds]
        lines.append(f"| {' | '.join(cells)} |")
    if timed:
        dense = timed["best"]["fp32 file"]
        cells = [dense.partition(" | ")[2], f"{timed['ms'][dense]:.4g}", *_beside(timed, "fp32 file")]
        lines.append(f"| the fp32 file | | | | {' | '.join(cells)} | |")
        lines.append(f"\nNoise floor {timed['noise_floor']:.1%}.")
    for name in (one for one in OURS if "said" in rows.get(one, {})):
        said = rows[name]["said"]
        lines.append(f"\n{name}: {said['trials']} candidates were tried, and `{'`, `'.join(said['recipe'])}` chosen.")
    return "\n".join(lines) + "\n"


def _beside(timed: dict[str, Any] | None, name: str) -> list[str]:
    """How many times as fast as this one each of our files is."""
    ratios = [None if timed is None else timed["faster"][our].get(name) for our in OURS]
    return ["" if one is None else f"{one[0]:.2f}x as fast ({one[1]:.2f} to {one[2]:.2f})" for one in ratios]


def _seen(row: dict[str, Any], best: str | None) -> dict[str, Any]:
    """The drops in the engine that the file is timed in, else in the first that ran it."""
    ran = [one for one in row["targets"] if "test" in one]
    wanted = None if best is None else best.partition(" | ")[2]
    return next((one for one in ran if one["target"] == wanted), ran[0])


def _interval(pair: list[float]) -> str:
    return f"{pair[0]:+.4f} to {pair[1]:+.4f}"
