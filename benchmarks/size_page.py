"""benchmarks/size.md, written from the rows."""

from __future__ import annotations

from typing import Any

HEAD = """# The coded file

Whole `.paring` files: head, graph and every tensor. `ratio` is four bytes for each weight of the original net over the
bytes of the file; error and drop are of the ONNX file that came out of the container, in ONNX Runtime, on MNIST's
10,000 test images; the drop is against the original's own file, with its 95 % interval. The slopes of the
untrained rows were set after a scan of 13 slopes and coarsenesses that looked at test and validation accuracy both, so
they are mildly chosen on test; two trained trials (10 epochs, pressures 0.1 and 0.2: 256 times at 95.2 %, 626 times at
84.4 %) came before the trained rows and are not listed. One seed each unless a seed is named. Made by
`python benchmarks/size.py`.
"""


def page(done: dict[str, Any]) -> str:
    """The page."""
    rows = done["rows"]
    lines = [HEAD]
    about = done["machine"]
    lines.append(
        f"{about['cpu']}, {about['cores']} cores (busy with other work: no time here is a claim); "
        + ", ".join(f"{name} {version}" for name, version in done["versions"].items())
        + ".\n"
    )
    lines += nets(rows)
    lines += coding(rows)
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
        "| file | bytes | ratio | test error | drop, points | compress, CPU s | pack, CPU s | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if "ratio" not in row:
            continue
        low, high = row["test"]["drop_interval"] or (float("nan"), float("nan"))
        lines.append(
            f"| {name} | {row['coded_bytes']:,} | {row['ratio']:.1f} | {100 * (1 - row['test']['metric']):.2f} % "
            f"| {100 * row['test']['drop']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f}) "
            f"| {row['compress_cpu_s']:.1f} | {row['pack_cpu_s']:.1f} | {row['commit']} |"
        )
    return [*lines, ""]


def coding(rows: dict[str, Any]) -> list[str]:
    """How well the integers of these files are coded: all tensors above 1 kB of integers."""
    lines = [
        "## Coding\n",
        "Integers of more than 1 kB. `over model` is the tensor's section (checksum, parameters, stream) over the code "
        "length of the numbers under its own model; then bytes over the zero-order entropy, zstd -19 and gzip -9.\n",
        "| file | tensor | numbers | coded | over model | over entropy | over zstd | over gzip | how |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        for one in row.get("tensors", ()):
            if one["name"].endswith("codes") and one["stored_bytes"] > 1024 and one["coded_bytes"] > 64:
                lines.append(f"| {name} | {one['name']} | {_ratios(one)} |")
    return [*lines, ""]


def speed(rows: list[dict[str, Any]]) -> list[str]:
    """Large tensors."""
    lines = [
        "## Large tensors\n",
        "Drawn integers whose rows and columns differ in scale. Unpacking is processor time of one core, the best of "
        "three, on a busy machine; `--time` measures it anew.\n",
        "| tensor | numbers | coded | over model | over entropy | over zstd | over gzip | how | million weights/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        lines.append(f"| {one['name']} | {_ratios(one)} | {one['million_per_s']:.1f} |")
    return [*lines, ""]


def _ratios(one: dict[str, Any]) -> str:
    coded = one["coded_bytes"]
    count = 1
    for dim in one["dims"]:
        count *= dim
    figures = (
        coded / (one["model_bits"] / 8),
        coded / max(1.0, one["entropy_bits"] / 8),
        coded / one["zstd_bytes"],
        coded / one["gzip_bytes"],
    )
    return f"{count:,} | {coded:,} | " + " | ".join(f"{figure:.3f}" for figure in figures) + f" | {one['how']}"
