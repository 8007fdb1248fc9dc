"""`paring load`: a file under load, with MLPerf LoadGen; an address, with an open loop over HTTP."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from paring.cli.options import BYTES, MILLISECONDS, AsJson, Threads, number_of
from paring.cli.shapes import ShapeOptions, shapes_of
from paring.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from paring.measure.loadgen import LoadResult
    from paring.measure.loadtest import LoadReport

PROFILES = ("server", "edge")


def load(
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH | URL ...",
            help="An .onnx file or artifact folder; or addresses, http://127.0.0.1:8000/v2/models/NAME, side by side.",
        ),
    ],
    task: Annotated[str | None, typer.Option(help="A task, to run on a real input of it.")] = None,
    shape: ShapeOptions = None,
    engine: Annotated[str, typer.Option(help="onnxruntime or openvino.")] = "onnxruntime",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    threads: Threads = 1,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Rows a call in Offline.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Calls at a time in Server and Offline.")] = 1,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="SingleStream, MultiStream, Offline, Server; repeatable.")
    ] = None,
    p99: Annotated[str | None, typer.Option(help="Find the highest rate that keeps p99 below this, as 5ms.")] = None,
    ladder: Annotated[bool, typer.Option("--ladder", help="Arrival rates up to twice saturation.")] = False,
    profile: Annotated[str, typer.Option(help="server, or edge: one thread and a memory cap.")] = "server",
    memory: Annotated[str, typer.Option(help="Memory cap of the edge profile.")] = "512MB",
    full: Annotated[bool, typer.Option("--full", help="MLPerf's full run lengths (10 minutes each).")] = False,
    price: Annotated[float, typer.Option(help="Price of a core hour, for the cost of a million predictions.")] = 0.04,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of an address: seconds each rate is held.")] = 5.0,
    clients: Annotated[int, typer.Option(min=1, help="Of an address: clients that find its saturation.")] = 64,
    token_file: Annotated[Path | None, typer.Option(help="Of an address: its bearer token; else PARING_TOKEN.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Of an address: an .npz whose first row is asked; else ones.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Of an address: folder for load.json and load.svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Loads a file as MLPerf does, or servers over HTTP by an open loop, and says what rate they bear."""
    from typing import get_args

    from paring.cli.render import console, saying
    from paring.cli.targets import targets_of
    from paring.measure.loadgen import Scenario
    from paring.measure.loadtest import LoadPlan, load_test

    limit_ms = None if p99 is None else number_of(p99, "--p99", MILLISECONDS)
    if any("://" in text for text in where):
        from paring.cli.serve import read_token
        from paring.cli.traffic import Traffic, load_urls

        token = read_token(token_file)
        load_urls(where, Traffic(shapes_of(shape), limit_ms, seconds, clients, token, data, out, as_json))
        return
    if len(where) > 1:
        raise SettingError(f"load: {len(where)} files; one at a time. `paring compare` times several together.")
    path = Path(where[0])
    if profile not in PROFILES:
        raise UnknownNameError("profile", profile, PROFILES, "--profile")
    for name in scenario or ():
        if name not in get_args(Scenario):
            raise UnknownNameError("scenario", name, get_args(Scenario), "--scenario")
    at_the_edge = profile == "edge"
    threads = 1 if at_the_edge else threads
    plan = LoadPlan(
        scenarios=tuple(scenario) if scenario else get_args(Scenario),  # type: ignore[arg-type]
        limit_ms=limit_ms,
        rungs=ladder,
        full=full,
        edge_bytes=int(number_of(memory, "--memory", BYTES)) if at_the_edge else None,
        price_per_core_hour=price,
        workers=1 if at_the_edge else workers,
    )
    path = path / "model.onnx" if path.is_dir() else path
    target = targets_of([engine], [precision], None, [threads], [batch])[0]
    inputs = _inputs(task, path, target)
    with saying("load", quiet=as_json) as say:
        report = load_test(path, target, plan, inputs=inputs, shapes=shapes_of(shape), report=say)
    if as_json:
        console.print_json(json.dumps(as_data(report)))
        return
    console.print(_table(report))
    for line in _lines(report):
        console.print(line, soft_wrap=True, highlight=False)


def as_data(report: LoadReport) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "file": str(report.path),
        **asdict(report.target),
        "results": [asdict(result) for result in report.results],
        "saturation_per_s": report.saturation_per_s,
        "energy": str(report.energy),
        "cost_per_million": report.cost_per_million,
        "highest": None if report.highest is None else asdict(report.highest),
        "ladder": [{"load": share, **asdict(result)} for share, result in report.rungs],
        "notes": list(report.notes),
    }


def _inputs(task: str | None, path: Path, target: Any) -> Any:
    if task is None:
        return None
    from paring.cli.load import load_task
    from paring.core.check import check_task
    from paring.engines import open_session
    from paring.judge.bench import timed_inputs
    from paring.measure.quality import file_inputs

    loaded = load_task(task)
    check_task(loaded)
    return file_inputs(open_session(path, target), timed_inputs(loaded, 1))


def _table(report: LoadReport) -> Table:
    title = f"{report.path} on {report.target}"
    table = Table("scenario", title=title, title_justify="left", header_style="bold")
    for heading in ("arrivals per s", "answers per s", "p50 ms", "p90 ms", "p99 ms", "queries", "CPU ms each"):
        table.add_column(heading, justify="right")
    table.add_column("LoadGen says")
    rows: list[tuple[str, LoadResult]] = [(result.scenario, result) for result in report.results]
    rows += [(f"Server at {share:.0%}", result) for share, result in report.rungs]
    for name, result in rows:
        latency = (
            ("", "", "") if name == "Offline" else tuple(f"{result.latency_ms[p]:.3f}" for p in ("p50", "p90", "p99"))
        )
        arrivals = "" if result.scheduled_per_s is None else f"{result.scheduled_per_s:,.0f}"
        said = "valid" if result.valid else f"invalid: {result.why or 'too few queries to be sure'}"
        table.add_row(
            name, arrivals, f"{result.samples_per_s:,.0f}", *latency, f"{result.queries:,}",
            f"{result.cpu_ms_per_sample:.3f}", said,
        )  # fmt: skip
    return table


def _lines(report: LoadReport) -> list[str]:
    from paring.measure.ladder import breaking_point

    lines = []
    if report.highest is not None:
        found = report.highest
        rate = "none was found" if found.per_s is None else f"{found.per_s:,.0f} per s"
        lines.append(f"Highest rate with {found.percentile} below {found.limit_ms:g} ms: {rate}.")
    if report.rungs:
        where = breaking_point(report.rungs)
        lines.append(
            "Latency does not break up to twice saturation."
            if where is None
            else f"Latency breaks at {where:,.0f} per s."
        )
    lines.append(
        f"A million predictions: {report.cost_per_million:.4f} at this price of a core hour; energy {report.energy}."
    )
    return [*lines, *report.notes]
