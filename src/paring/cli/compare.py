"""`paring compare`: files against each other, by the clock."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from paring.cli.options import AsJson
from paring.cli.shapes import ShapeOptions, shapes_of

if TYPE_CHECKING:
    from paring.core.detail import Throughput
    from paring.engines.protocol import Arrays
    from paring.measure.compare import Comparison, FileTiming

Pools = dict[str, list["Throughput"]]


def compare(
    files: Annotated[
        list[Path], typer.Argument(metavar="A B [C ...]", help=".onnx files or artifacts; A is the base.")
    ],
    task: Annotated[str | None, typer.Option(help="A task, to time on its real inputs.")] = None,
    shape: ShapeOptions = None,
    engine: Annotated[list[str] | None, typer.Option("--engine", help="On this engine only; repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option("--precision", help="fp32, bf16, fp16; repeatable.")] = None,
    device: Annotated[list[str] | None, typer.Option("--device", help="cpu or cuda; repeatable.")] = None,
    threads: Annotated[list[int], typer.Option("--threads", min=1, help="Threads a call; repeatable.")] = [1],  # noqa: B006
    batch: Annotated[list[int], typer.Option("--batch", min=1, help="Rows a call; repeatable.")] = [1],  # noqa: B006
    processes: Annotated[
        list[int] | None, typer.Option("--processes", min=1, help="Throughput of so many side by side; repeatable.")
    ] = None,
    blocks: Annotated[int, typer.Option(min=2, help="Paired blocks; more narrow the interval.")] = 40,
    min_block_ms: Annotated[float, typer.Option(help="How long a file's turn in a block lasts.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="Folder for compare.json and the raw samples (.npz).")] = None,
    as_json: AsJson = False,
) -> None:
    """Times files against the first one, interleaved, and says faster, slower or indistinguishable."""
    from paring.cli.render import console, counting
    from paring.cli.targets import targets_of
    from paring.measure.compare import compare_files

    paths = [file / "model.onnx" if file.is_dir() else file for file in files]
    targets = targets_of(engine, precision, device, threads, batch)
    results, told = [], []
    with counting(paths[0].name, "timing in turns", quiet=as_json) as report:
        for result in compare_files(
            paths,
            targets,
            inputs_for=None if task is None else _task_inputs(task),
            shapes=shapes_of(shape),
            blocks=blocks,
            min_block_ms=min_block_ms,
            report=report,
        ):
            pools = _pools(result, processes or [])
            results.append(as_data(result, pools))
            told.append((result, pools))
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                result.samples.save(out / f"samples-{result.threads}x{result.batch_size}.npz")
    if out is not None:
        from paring.store import write_text

        write_text(out / "compare.json", json.dumps(results, indent=1) + "\n")
    if as_json:
        console.print_json(json.dumps(results))
        return
    for result, pools in told:
        console.print(_table(result, pools))
        for line in _lines(result):
            console.print(line, soft_wrap=True, highlight=False)


def as_data(result: Comparison, pools: Pools) -> dict[str, Any]:
    """One comparison as plain data."""
    return {
        "threads": result.threads,
        "batch_size": result.batch_size,
        "drift": result.drift,
        "steady": result.steady,
        "rows": [_row(row, pools) for row in result.rows],
        "best": [_row(row, pools) for row in result.best],
        "refused": dict(result.refused),
    }


def _row(row: FileTiming, pools: Pools) -> dict[str, Any]:
    return {
        "file": str(row.path),
        "file_bytes": row.path.stat().st_size,
        **asdict(row.target),
        "latency_ms": dict(row.latency_ms),
        "cpu_ms": row.cpu_ms,
        "throughput_per_s": row.throughput_per_s,
        "speedup": asdict(row.ratio),
        "noise_floor": row.noise_floor,
        "verdict": row.verdict,
        "throughput": [asdict(entry) for entry in pools.get(f"{row.path} {row.target}", [])],
    }


def _task_inputs(where: str) -> Any:
    """A function of a session and a batch size that gives the task's own inputs under the file's names."""
    from paring.cli.load import load_task
    from paring.core.check import check_task
    from paring.judge.bench import timed_inputs
    from paring.measure.quality import file_inputs

    task = load_task(where)
    check_task(task)

    def inputs(session: Any, batch_size: int) -> Arrays:
        return file_inputs(session, timed_inputs(task, batch_size))

    return inputs


def _pools(result: Comparison, processes: list[int]) -> Pools:
    from paring.measure.throughput import pool_throughput

    return {
        f"{row.path} {row.target}": [
            pool_throughput(row.path, row.target, result.inputs[row.path], count) for count in processes
        ]
        for row in result.rows
        if processes
    }


def _table(result: Comparison, pools: Pools) -> Table:
    from paring.cli.render import COLOURS

    counts = [entry.processes for entry in next(iter(pools.values()), [])]
    title = f"{result.threads} thread(s), batch {result.batch_size}"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("target", no_wrap=True)
    for heading in ("bytes", "p50 ms", "p90 ms", "p99 ms", "per s", *(f"per s x{n}" for n in counts), "ratio", "99 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("floor", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in result.rows:
        ratio, colour = row.ratio, COLOURS[row.verdict]
        table.add_row(
            row.path.parent.name + "/" + row.path.name if row.path.name == "model.onnx" else row.path.name,
            str(row.target),
            f"{row.path.stat().st_size:,}",
            *(f"{row.latency_ms[name]:.4f}" for name in ("p50", "p90", "p99")),
            f"{row.throughput_per_s:,.0f}",
            *(f"{entry.per_s:,.0f}" for entry in pools.get(f"{row.path} {row.target}", [])),
            f"{ratio.ratio:.3f}",
            f"{ratio.low:.3f}-{ratio.high:.3f}",
            f"{row.noise_floor:.1%}",
            f"[{colour}]{row.verdict}[/{colour}]",
        )
    return table


def _lines(result: Comparison) -> list[str]:
    lines = [f"not run: {where}: {why}" for where, why in result.refused.items()]
    base = result.best[0]
    for row in result.best[1:]:
        said = f"{row.ratio.ratio:.2f} times ({row.ratio.low:.2f} to {row.ratio.high:.2f}), {row.verdict}"
        lines.append(f"{row.path} on its best ({row.target}) against {base.path} on its own ({base.target}): {said}")
    if not result.steady:
        lines.append(
            f"The machine changed its speed by {result.drift:.0%} during this run (canary): ratios stand, since files "
            "took turns, but absolute times deserve doubt."
        )
    return lines
