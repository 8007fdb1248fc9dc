"""`paring gate`: may this artifact replace that one?"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from paring.cli.options import BYTES, MILLISECONDS, AsJson, BatchSize, Threads, bench_of, drop_of, number_of
from paring.cli.shapes import ShapeOptions, shapes_of
from paring.errors import BudgetError, SettingError, UnknownNameError
from paring.gate.check import Allowance, Check, as_data, checks, passes

UNITS = {"max_latency_ms": MILLISECONDS | {"": 1.0}, "max_file_bytes": BYTES, "max_peak_memory_bytes": BYTES}
COLOURS = {"holds": "green", "broken": "red", "unknown": "yellow"}


def gate(
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The artifact folder or .onnx file that wants to ship.")],
    against: Annotated[Path, typer.Option("--against", help="The one in service.")],
    budget: Annotated[Path, typer.Option("--budget", help="A YAML file of limits; docs/delivery.md lists them.")],
    data: Annotated[Path | None, typer.Option(help="An .npz of inputs and `target`, to take the drop on.")] = None,
    metric: Annotated[str | None, typer.Option(help="The figure for --data; else the manifest's.")] = None,
    shape: ShapeOptions = None,
    engine: Annotated[list[str] | None, typer.Option("--engine", help="On this engine only; repeatable.")] = None,
    threads: Threads = 1,
    batch: BatchSize = 1,
    as_json: AsJson = False,
) -> None:
    """Holds a new artifact against a budget and the one in service: exit 0 if every limit holds, else 3."""
    from paring.artifacts.manifest import read_manifest
    from paring.cli.consoles import console
    from paring.cli.targets import targets_of
    from paring.gate.evidence import evidence

    told = (read_manifest(against).get("measurement") or {}) if against.is_dir() else {}
    allowance = read_allowance(budget, told.get("metric"))
    bench = bench_of(engine, "cpu", threads, batch)
    seen = evidence(
        against, new, targets_of(engine, None, None, [threads], [batch]), data=data, metric=metric,
        shapes=shapes_of(shape), blocks=bench.blocks, min_block_ms=bench.min_block_ms,
    )  # fmt: skip
    found = checks(allowance, *seen)
    if as_json:
        console.print_json(json.dumps(as_data(found)))
    else:
        console.print(_table(found, new, against))
    if not passes(found):
        failed = ", ".join(f"{one.limit} ({one.outcome})" for one in found if one.outcome != "holds")
        raise BudgetError(f"gate: {new} may not replace {against}: {failed}.")


def read_allowance(path: Path, old_metric: float | None) -> Allowance:
    """The limits in a YAML file; numbers may carry units: 0.5pt, 0.5%, 2ms, 200kB. Raises SettingError."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingError(
            f"--budget {path}: no such file. Give a YAML mapping of limits; docs/delivery.md has one."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"--budget {path}: cannot be read as YAML ({type(error).__name__}).") from None
    if not isinstance(content, dict):
        raise SettingError(f"--budget {path}: it must be a mapping of limits, such as max_file_bytes: 2MB.")
    known = {field.name for field in fields(Allowance)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise UnknownNameError("limit", key, known, f"--budget {path}")
        values[key] = value if key == "percentile" else _number(f"{path}: {key}", str(key), value, old_metric)
    return Allowance(**values)


def _number(where: str, key: str, value: Any, old_metric: float | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise SettingError(f"{where} is {value!r}; it must be a number, with or without its unit.")
    if key == "max_metric_drop":
        return drop_of(str(value), old_metric)
    number = number_of(str(value), where, UNITS.get(key, {"": 1.0}))
    if not number > 0:
        raise SettingError(f"{where} is {value!r}; it must be above 0, or left out for no limit.")
    return number


def _table(found: tuple[Check, ...], new: Path, old: Path) -> Table:
    table = Table("limit", title=f"{new} against {old}", title_justify="left", header_style="bold")
    for heading in ("allowed", "old", "new"):
        table.add_column(heading, justify="right")
    table.add_column("outcome")
    table.add_column("note", overflow="fold")
    for one in found:
        colour = COLOURS[one.outcome]
        figures = (_figure(value) for value in (one.allowed, one.old, one.new))
        table.add_row(one.limit, *figures, f"[{colour}]{one.outcome}[/{colour}]", one.note)
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
