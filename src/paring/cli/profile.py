"""`paring profile`: where the time of a file goes, by the modules of the original model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from paring.cli.options import AsJson, Threads
from paring.cli.shapes import ShapeOptions, shapes_of

if TYPE_CHECKING:
    from paring.core.task import Task
    from paring.measure.profile import Profile


def profile(
    files: Annotated[list[Path], typer.Argument(metavar="PATH [PATH ...]", help="Before, after: files or artifacts.")],
    task: Annotated[
        str | None, typer.Option(help="A task: its real inputs, and eager PyTorch beside the files.")
    ] = None,
    shape: ShapeOptions = None,
    engine: Annotated[list[str] | None, typer.Option("--engine", help="On this engine only; repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option("--precision", help="fp32, bf16, fp16; repeatable.")] = None,
    threads: Threads = 1,
    batch: Annotated[int, typer.Option(min=1, help="Rows a call.")] = 1,
    calls: Annotated[int, typer.Option(min=1, help="Calls to average over.")] = 20,
    depth: Annotated[int | None, typer.Option(min=1, help="Cut module names to so many parts.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 25,
    as_json: AsJson = False,
) -> None:
    """Shows the time of each module in the shipped engine, for one file or several side by side."""
    from paring.cli.load import load_task
    from paring.cli.render import console, saying
    from paring.cli.targets import targets_of
    from paring.core.check import check_task

    loaded = None if task is None else load_task(task)
    if loaded is not None:
        check_task(loaded)
    found = []
    with saying("profile", quiet=as_json) as say:
        for target in targets_of(engine, precision, None, [threads], [batch]):
            for path in files:
                say(f"{path} on {target}")
                found.append(_file(path, target, loaded, shapes_of(shape), calls))
    if loaded is not None:
        from paring.judge.bench import timed_inputs
        from paring.measure.profile_eager import profile_eager

        found.append(profile_eager(loaded, loaded.model, timed_inputs(loaded, batch), threads=threads, calls=calls))
    if as_json:
        console.print_json(json.dumps([as_data(one) for one in found]))
        return
    console.print(table(found, depth, top))
    for one in found:
        console.print(
            f"{one.what} on {one.target}: {one.call_ms:.3f} ms a call while profiled, of which operators are "
            f"{one.covered:.0%}; {one.attributed:.1%} of their time belongs to a named module.",
            soft_wrap=True,
            highlight=False,
        )


def as_data(one: Profile) -> dict[str, Any]:
    """A profile as plain data."""
    return {
        "what": one.what,
        **asdict(one.target),
        "call_ms": one.call_ms,
        "attributed": one.attributed,
        "covered": one.covered,
        "modules": one.by_module(),
        "ops": [asdict(op) for op in one.ops],
    }


def table(profiles: list[Profile], depth: int | None, top: int) -> Table:
    """Modules by time, one column a profile, the slowest of the first on top."""
    columns = [one.by_module(depth) for one in profiles]
    names = sorted({name for column in columns for name in column}, key=lambda name: [-c.get(name, 0) for c in columns])
    shown = Table("module", header_style="bold")
    for one in profiles:
        shown.add_column(f"{Path(one.what).parent.name}/{Path(one.what).name}\n{one.target} ms", justify="right")
        shown.add_column("share", justify="right")
    for name in names[:top]:
        cells = []
        for column in columns:
            spent = column.get(name)
            cells += ["", ""] if spent is None else [f"{spent:.4f}", f"{spent / sum(column.values()):.1%}"]
        shown.add_row(escape(name or "(no module)"), *cells)
    return shown


def _file(path: Path, target: Any, task: Task | None, shapes: dict[str, tuple[int, ...]], calls: int) -> Profile:
    from paring.engines import open_session
    from paring.measure.profile import profile_file

    path = path / "model.onnx" if path.is_dir() else path
    inputs = None
    if task is not None:
        from paring.judge.bench import timed_inputs
        from paring.measure.quality import file_inputs

        inputs = file_inputs(open_session(path, target), timed_inputs(task, target.batch_size))
    return profile_file(path, target, inputs, shapes=shapes, calls=calls)
