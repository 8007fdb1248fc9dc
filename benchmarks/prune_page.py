"""benchmarks/prune.md from benchmarks/results/prune.json."""

from __future__ import annotations

from statistics import mean
from typing import Any

from kept import elsewhere

Row = dict[str, Any]
COMMAND = "OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python benchmarks/prune.py"
RESNET = (
    "The public net trained on these JPEGs until validation is flat; every drop is against that. 512 training images "
    "calibrate; nothing trains unless the row says so. Torch-Pruning 1.6.1 runs as its reproduction script does: 400 "
    'small steps until the MACs are few enough, classifier left alone; "+ norms" measures its batch norms anew, which '
    "it does not do itself."
)
SCOPES = (
    " At 2x and 4x each of its importances stands with the scope that did better at 2.5x on validation. Three epochs "
    "do not bring the 2.5x net within half a point. Tried on another training of the same net (one NVIDIA H200; dense "
    "89.94 on test, 84.67 after the cut), one seed each, and not listed: the row's own settings 88.99; batches of 64 "
    "88.90, there a rate of 0.004 88.44 and of 0.001 88.68, temperature 2 without labels 88.29, with the maps at the "
    "ends of the three stages 88.60, at six blocks 88.51. All lie within 0.7 of each other: what bounds it is the cut "
    "and the three epochs, not how they are spent."
)
TITLES = {
    "wide": (
        "Zeros in a fully connected net (784-512-256-128-10 on MNIST)",
        "Three nets, each trained from its own seed; drops are against that seed's own dense file. Bytes are those of "
        'the masked weights; CSR holds a 32-bit value and a 32-bit column for each non-zero; "coded" is the whole '
        "file in Paring's container. Zeros make no file faster here: dense kernels multiply them like anything else.",
    ),
    "units": (
        "Units really removed (the same net)",
        "The same three nets; 66 % of the units of every hidden layer go. Recovery is three epochs of distilling "
        "from the net before, in the row of three rounds after each of them. Zero pruning stands beside it: its file "
        "is as long as before until it is coded.",
    ),
    "resnet56": ("ResNet-56 on CIFAR-10 as JPEGs", RESNET + SCOPES),
    "resnet20": ("ResNet-20 on CIFAR-10 as JPEGs", RESNET),
    "encoder": (
        "MiniLM-L6 on SST-2, without training",
        "512 training phrases calibrate. Selected on 2,000 phrases of dev; test is GLUE's 872 sentences.",
    ),
    "movement": (
        "MiniLM-L6 at 90 % zeros, trained",
        "All rows begin at the encoder before SST-2 with a new head, and are pruned while they learn the task from the "
        "fine-tuned net, against which drops are taken: 20,480 training phrases, 5 epochs, the same cubic schedule "
        "layer by layer, one seed. Scores of signed movement that begin at zero, as in the paper, leave nothing of the "
        "net at this rate and length; scores that begin at magnitudes and move lose to plain magnitudes; scores by "
        "sensitivity (|weight x gradient|, smoothed, times how much it varies: PLATON) win. The rows made on the GPU "
        "computed in bf16, the others in fp32.",
    ),
}


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    rows: dict[str, Row] = results["rows"]
    parts = [_head(results)]
    for part, (title, words) in TITLES.items():
        own = {key.split(": ", 1)[1]: row for key, row in rows.items() if key.startswith(f"{part}: ")}
        if own:
            parts += [f"## {title}", words, _table(part, own), elsewhere(own), _clock(own)]
            if part == "wide":
                parts.append(_layers(own))
        else:
            parts += [f"## {title}", f"Not run yet: `{COMMAND} {part}`."]
    costs = [row for key, row in rows.items() if key.startswith("cost: ")]
    if costs:
        parts += ["## Cost", _cost(costs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(results: dict[str, Any]) -> str:
    here = results.get("machine", {})
    commits = ", ".join(sorted({row["commit"] for row in results["rows"].values()})) or "none"
    versions = ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items())
    return "\n".join(
        [
            "# Pruning, measured",
            "",
            f"Command: `{COMMAND}`, timings `{COMMAND} --time` (commits {commits}; one thread).",
            f"Machine: {here.get('cpu', '?')}, {here.get('usable_cores', '?')} usable cores, "
            f"{', '.join(here.get('flags', []))}.",
            f"Versions: {versions}.",
            "",
            "Metrics are taken from the exported file in ONNX Runtime fp32. Drops are in points, with 95 % intervals "
            "paired over the same examples; where there are several seeds, the mean over them, and the worst in "
            "brackets.",
        ]
    )


def _by_name(rows: dict[str, Row]) -> dict[str, list[Row]]:
    """Rows that differ in nothing but the seed, together."""
    found: dict[str, list[Row]] = {}
    for key, row in rows.items():
        found.setdefault(key.rpartition(", seed ")[0] or key, []).append(row)
    return found


def _table(part: str, rows: dict[str, Row]) -> str:
    bytes_of_zeros = part == "wide"
    columns = ["row", "seeds", "file"]
    columns += ["zeros", "dense", "CSR", "entropy", "coded"] if bytes_of_zeros else []
    columns += ["coded"] if part == "units" else []
    columns += ["zeros"] if part in ("encoder", "movement") else []
    columns += [] if bytes_of_zeros else ["MACs"]
    columns += ["validation", "validation drop", "test", "test drop"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, seeds in _by_name(rows).items():
        first = seeds[0]
        cells = [name, str(len(seeds)), f"{first['file_bytes'] / first['dense_file_bytes']:.3f}x"]
        layers = list(first["layers"].values())
        if bytes_of_zeros:
            cells += [*_bytes(layers), f"{first['dense_coded_bytes'] / first['coded_bytes']:.1f}x less"]
        if part == "units":
            cells.append(f"{first['coded_bytes'] / 1024:.0f} KiB")
        if part in ("encoder", "movement"):
            cells.append(_share(layers))
        if not bytes_of_zeros:
            cells.append(f"{first['dense_macs'] / first['macs']:.2f}x fewer")
        for split in ("validation", "test"):
            cells += [f"{100 * mean(row[split]['metric'] for row in seeds):.2f}", _drop([row[split] for row in seeds])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _bytes(layers: list[Row]) -> list[str]:
    if not layers:
        return ["", "", "", ""]
    kib = [
        f"{sum(layer[kind] for layer in layers) / 1024:.0f} KiB"
        for kind in ("dense_bytes", "csr_bytes", "entropy_bytes")
    ]
    return [_share(layers), *kib]


def _share(layers: list[Row]) -> str:
    if not layers:
        return ""
    return f"{1 - sum(layer['nonzeros'] for layer in layers) / sum(layer['total'] for layer in layers):.1%}"


def _drop(seen: list[Row]) -> str:
    if len(seen) == 1:
        low, high = seen[0]["interval"]
        return f"{100 * seen[0]['drop']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    drops = [100 * one["drop"] for one in seen]
    return f"{mean(drops):+.2f} (worst {max(drops):+.2f})"


def _clock(rows: dict[str, Row]) -> str:
    """MACs beside the clock, per Target."""
    timed = {name: row for name, row in rows.items() if row.get("timed")}
    if not timed:
        return ""
    targets = list(dict.fromkeys(target for row in timed.values() for target in row["timed"]))
    lines = [
        "The clock beside the MACs: the dense file's time over the row's, on the same target (99 % interval).",
        "",
        f"| row | MACs | {' | '.join(targets)} |",
        "|---|---|" + "---|" * len(targets),
    ]
    for name, row in timed.items():
        cells = [_speed(row["timed"].get(target)) for target in targets]
        lines.append(f"| {name} | {row['dense_macs'] / row['macs']:.2f}x fewer | {' | '.join(cells)} |")
    told = elsewhere(timed, "timed_where", "Timed")
    return "\n".join([*lines, *(["", told] if told else [])])


def _speed(found: Row | None) -> str:
    if found is None:
        return "refused"
    ratio, low, high = found["speedup"]
    word = "" if found["verdict"] == "faster" else f" {found['verdict']}"
    return f"{ratio:.2f}x [{low:.2f}, {high:.2f}]{word}, {found['p50_ms']:.3g} ms"


def _layers(rows: dict[str, Row]) -> str:
    """One row of the table in full."""
    name = next((name for name in rows if name.startswith("gradual magnitude 95%")), None)
    if name is None:
        return ""
    lines = [
        f"Layer by layer, {name}:",
        "",
        "| layer | zeros | non-zero | total | dense bytes | factor by non-zeros | CSR bytes | CSR pays above |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for layer, seen in rows[name]["layers"].items():
        lines.append(
            f"| {layer} | {1 - seen['nonzeros'] / seen['total']:.1%} | {seen['nonzeros']:,} | {seen['total']:,} | "
            f"{seen['dense_bytes']:,} | {seen['total'] / max(seen['nonzeros'], 1):.1f}x | {seen['csr_bytes']:,} | "
            f"{seen['break_even']:.1%} |"
        )
    return "\n".join(lines)


def _cost(rows: list[Row]) -> str:
    lines = [
        'A row of square Linears, 2,048 calibration rows, one core. "Kept" is what the pass holds for the whole model '
        "(masks; the original beside the model); the rest is workspace, which the depth does not change.",
        "",
        "| pass | depth | width | processor seconds | a layer | peak above the net | of it kept | one Hessian |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row["name"], row["width"], row["depth"])):
        mib = [f"{row[kind] / 2**20:.1f} MiB" for kind in ("peak_extra_bytes", "kept_bytes", "hessian_bytes")]
        lines.append(
            f"| {row['name']} | {row['depth']} | {row['width']} | {row['cpu_s']:.2f} | "
            f"{row['cpu_s'] / row['depth']:.3f} | {' | '.join(mib)} |"
        )
    return "\n".join(lines)
