"""benchmarks/quantize.md from benchmarks/results/quantize.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kept import elsewhere

TITLES = {
    "mnist": "MNIST CNN (32-64-128)",
    "conversion": "Conversion MLP (online shoppers, 256-128)",
    "resnet20": "ResNet-20 on CIFAR-10 as JPEGs",
    "encoder": "MiniLM-L6 on SST-2",
    "vgg": "VGG-like net on CIFAR-10 as JPEGs",
    "lenet": "LeNet-sized net, random weights: the clock alone",
    "vgg16": "VGG-16 over 32 x 32, random weights: the clock alone",
    "roberta": "RoBERTa-base's size, random weights: the clock alone",
}
TARGETS_OF = {"encoder": 5.4, "roberta": 7, "vgg": 12, "vgg16": 12, "resnet20": 7, "conversion": 5, "lenet": 8}
OURS, EAGER, FP32 = "ours, ", "PyTorch eager fp32", "fp32 file"
COMMAND = "OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python benchmarks/quantize.py"
HEAD = """# Integers, measured

Commands: `bash benchmarks/quantize_peers/install.sh`, then `{command}`,
and the same with `--time` on a quiet machine (commits {commits}; seed 0; one thread; batch 1).
Machine: {cpu}, {cores} usable cores, {flags}.
Versions: {versions}.
Peers, each in an environment of its own: nncf 3.4.0, neural-compressor-pt 3.10, torchao 0.18.0; and ONNX Runtime's own
quantizer. Fewer bits, and training under rounding: [bits.md](bits.md).

Every peer is given the same fp32 file or traced net and the same calibration batches, and what it writes is judged
here: drops are against the fp32 file in ONNX Runtime, paired over the same examples (95 % interval), in points of
accuracy or in percent of the Poisson log loss; `error` is that of the outputs, root mean square, relative. Smaller is
the file as shipped, then its weights alone. Speed is interleaved with 99 % intervals; a ratio inside the noise floor is
called indistinguishable."""


def page(results: dict[str, Any]) -> str:
    """The page, from the rows that are there."""
    rows, times = results.get("rows", {}), results.get("times", {})
    here = results.get("machine", {})
    parts = [
        HEAD.format(
            command=COMMAND,
            commits=", ".join(sorted({row["commit"] for row in (*rows.values(), *times.values())})),
            cpu=here.get("cpu", "?"),
            cores=here.get("usable_cores", "?"),
            flags=", ".join(here.get("flags", [])),
            versions=", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items()),
        ),
        *_summary(rows),
        *_speeds(times),
    ]
    for subject, title in TITLES.items():
        own = {key.split(": ", 1)[1]: row for key, row in rows.items() if key.startswith(f"{subject}: ")}
        clocks = {key.split(": ", 1)[1]: row for key, row in times.items() if key.startswith(f"{subject}: ")}
        if own or clocks:
            parts += [f"## {title}", *_files(subject, own), *_clocks(clocks)]
    return "\n\n".join(filter(None, [*parts, elsewhere(rows), elsewhere(times)])) + "\n"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *lines))


def _by_validation(own: Mapping[str, Any], engine: str, *, ours: bool) -> tuple[str, Any] | None:
    """Our or a peer's file with the best drop on validation in an engine's fp32; equal ones by the outputs' error."""
    seen = [
        (one["validation"]["drop"], one["validation"]["error"], name, one)
        for name, row in own.items()
        if name.startswith(OURS) == ours
        for one in row.get("targets", ())
        if one["target"] == f"{engine} fp32" and "validation" in one
    ]
    return None if not seen else min(seen, key=lambda entry: entry[:3])[2:]


def _summary(rows: Mapping[str, Any]) -> list[str]:
    lines = []
    for subject in TITLES:
        own = {key.split(": ", 1)[1]: row for key, row in rows.items() if key.startswith(f"{subject}: ")}
        for engine in ("onnxruntime", "openvino"):
            mine, theirs = (_by_validation(own, engine, ours=ours) for ours in (True, False))
            if mine is None or theirs is None:
                continue
            sizes = [_size(own[one[0]]) for one in (mine, theirs)]
            lines.append(
                [
                    TITLES[subject], engine, mine[0].removeprefix(OURS), _drop(subject, mine[1]["test"]),
                    f"{mine[1]['test']['error']:.2%}", sizes[0], theirs[0], _drop(subject, theirs[1]["test"]),
                    f"{theirs[1]['test']['error']:.2%}", sizes[1],
                ]
            )  # fmt: skip
    if not lines:
        return []
    heads = ["net", "engine", "ours", "test drop", "error", "smaller", "best peer", "test drop", "error", "smaller"]
    return ["## Accuracy: the file best on validation, ours and the peers', on test", _table(heads, lines)]


def _speeds(times: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, row in times.items():
        subject, engine = key.split(": ", 1)
        if row["ours"] is None:
            continue
        floats = [one for one in row["p50_ms"] if one.startswith(FP32)]
        cells = [TITLES[subject], engine, f"{_words(row['ours'])}, {row['p50_ms'][row['ours']]:.4g} ms"]
        for base in (EAGER, *[f"{FP32} | fp32", f"{FP32} | bf16"]):
            cells.append(_ratio(row, base) if base in (EAGER, *floats) else "")
        cells.append("none ran" if row["peer"] is None else f"{_ratio(row, row['peer'])} ({_words(row['peer'])})")
        cells.append(f"{row['noise_floor']:.1%}")
        cells.append("" if subject not in TARGETS_OF else f"{TARGETS_OF[subject]:g}x")
        lines.append(cells)
    if not lines:
        return []
    heads = ["net", "engine", "our int8 file", "over eager", "over its fp32", "over its bf16", "over the fastest peer"]
    note = (
        "Ratios above 1 say that ours is faster. Ours and the peer's are the fastest files whose drop on validation is "
        "inside the bar: 0.3 points, 0.5 for the encoder, 0.1 % for the rates."
    )
    return ["## Speed, batch 1, one core", note, _table([*heads, "noise floor", "wanted over eager"], lines)]


def _words(name: str) -> str:
    """`FILE | PRECISION` as it may stand in a table."""
    return name.removeprefix(OURS).replace(" | ", ", ")


def _ratio(row: Mapping[str, Any], base: str) -> str:
    ratio, low, high, word = row["ours over"][base]
    return f"{ratio:.2f}x [{low:.2f}, {high:.2f}]" + ("" if word == "faster" else f" {word}")


def _files(subject: str, own: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, row in own.items():
        if "refused" in row:
            lines.append([name, "", "", "refused", row["refused"][:120].replace("|", "/"), ""])
            continue
        size = _size(row) if "file_bytes" in row else "no file"
        for one in row.get("targets", ()):
            if "refused" in one:
                if not one["refused"].endswith("only OpenVINO reads it."):
                    lines.append([name, one["target"], size, "refused", one["refused"][:120].replace("|", "/"), ""])
                continue
            drops = [_drop(subject, one[split]) if split in one else "" for split in ("validation", "test")]
            lines.append([name, one["target"], size, *drops, f"{one['test']['error']:.2%}"])
    return [] if not lines else [_table(["file", "where", "smaller", "validation drop", "test drop", "error"], lines)]


def _size(row: Mapping[str, Any]) -> str:
    return f"{row['baseline_bytes'] / row['file_bytes']:.2f}x, {row.get('weights_smaller', 0):.2f}x"


def _drop(subject: str, found: Mapping[str, Any]) -> str:
    factor = 100.0
    if subject == "conversion":
        factor = 100 / abs(found["metric"] - found["drop"])
    text = f"{factor * found['drop']:+.2f}"
    if found["interval"] is not None:
        text += " [{:+.2f}, {:+.2f}]".format(*(factor * one for one in found["interval"]))
    return text + (" %" if subject == "conversion" else "")


def _clocks(clocks: Mapping[str, Any]) -> list[str]:
    parts = []
    for engine, row in clocks.items():
        lines = [
            [_words(name), f"{p50:.4g}", _ratio(row, name) if name in row["ours over"] else ""]
            for name, p50 in sorted(row["p50_ms"].items(), key=lambda entry: entry[1])
        ]
        refused = "".join(
            f"\n- {name} was refused: {why[:160]}" for name, why in row["refused"].items() if "only" not in why
        )
        parts += [f"In {engine} ({row['blocks']} blocks, drift {row['drift']:.1%}):{refused}"]
        parts += [_table(["file", "median ms", "ours against it"], lines)]
    return parts
