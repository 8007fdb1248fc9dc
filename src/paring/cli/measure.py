"""`paring measure`: everything about one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from paring.cli.options import AsJson, BatchSize, Device, Engines, Threads, bench_of
from paring.cli.shapes import ShapeOptions, shapes_of


def measure(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="An .onnx file or an artifact folder.")],
    task: Annotated[str | None, typer.Option(help="A task, to measure quality on its test data too.")] = None,
    shape: ShapeOptions = None,
    engine: Engines = None,
    device: Device = "cpu",
    threads: Threads = 1,
    batch: BatchSize = 1,
    processes: Annotated[
        list[int] | None, typer.Option("--processes", min=1, help="Throughput of so many side by side; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measures a file: bytes, latency per engine and precision, memory, floor, and quality where a task is given."""
    from dataclasses import replace

    from paring.cli.load import load_task
    from paring.cli.render import console, counting
    from paring.judge.file import measure_file

    loaded = None if task is None else load_task(task)
    bench = replace(bench_of(engine, device, threads, batch), processes=tuple(processes or [1]))
    with counting(path.name, "timing", quiet=as_json) as report:
        measured = measure_file(path, bench, loaded, shapes_of(shape), report)
    if as_json:
        console.print_json(json.dumps(measured))
        return
    console.print(f"{measured['path']}: {measured['file_bytes']:,} bytes, inputs {', '.join(measured['inputs'])}")
    console.print(_table(measured))
    for where, why in measured["refused"].items():
        console.print(f"not run: {where}: {why}", soft_wrap=True, highlight=False)
    for line in _lines(measured):
        console.print(line, soft_wrap=True, highlight=False)


def _table(measured: dict[str, Any]) -> Table:
    table = Table("target", header_style="bold")
    for heading in ("p50 ms", "p90 ms", "p99 ms", "floor", "per s", "loaded", "peak", "cold start", "metric"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in measured["targets"]:
        memory, roofline = row["memory"], row["roofline"]
        table.add_row(
            row["name"],
            *(f"{row['latency_ms'][name]:.4f}" for name in ("p50", "p90", "p99")),
            "" if roofline is None else f"x {roofline['multiple']:.2f}",
            ", ".join(_rate(entry) for entry in row["throughput"]),
            f"{memory['loaded_bytes'] / 1e6:.1f} MB",
            f"{memory['peak_bytes'] / 1e6:.1f} MB",
            f"{memory['cold_start_ms']:,.0f} ms",
            "" if row["metric"] is None else f"{row['metric']:.4f}",
        )
    return table


def _rate(entry: dict[str, Any]) -> str:
    return f"{entry['per_s']:,.0f}" + (f" (x{entry['processes']})" if entry["processes"] > 1 else "")


def _lines(measured: dict[str, Any]) -> list[str]:
    rooflines = [row["roofline"] for row in measured["targets"]]
    if any(one is None for one in rooflines):
        return ["No floor shown: `paring machine` measures this machine's peaks once."]
    lines = []
    for row, one in zip(measured["targets"], rooflines, strict=True):
        compute = sum(op["compute_ms"] for op in one["ops"] if op["bound"] == "compute")
        memory = sum(op["memory_ms"] for op in one["ops"] if op["bound"] == "memory")
        lines.append(
            f"{row['name']}: floor {one['floor_ms']:.4f} ms = {compute:.4f} of products + {memory:.4f} of memory + "
            f"{one['overhead_ms']:.4f} of the call itself."
        )
    return lines
