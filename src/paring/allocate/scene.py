"""Everything the solver needs to know of one model on one target, built once and kept as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from paring.allocate.facts import digest_of
from paring.allocate.fitting import fit_whole
from paring.allocate.kept import read_kept, write_kept
from paring.allocate.losses import Yardstick
from paring.allocate.measured import Measured
from paring.allocate.option import Unit
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.table import Entry, Menu, Table, build_table
from paring.allocate.whole import Whole
from paring.clock.table import table_path
from paring.core.edit import Progress

FORMAT, FACTS_FORMAT = 21, 10


@dataclass(frozen=True)
class Kept:
    """A table as it lies on disk: units, and the entries of each."""

    units: tuple[Unit, ...]
    entries: tuple[tuple[Entry, ...], ...]


def table_of(units: Sequence[Unit], menu: Menu, measured: Measured) -> Generator[Progress, None, Table]:
    """Table of the model that is `measured`: from the cache, or built now and put there.

    Raises: CorruptFileError for a cache that cannot be read.
    """
    path = _path("options", menu, measured, units)
    if path.is_file():
        yield Progress(1, 1, f"option table from {path}")
        kept = read_kept(path, Kept, "an option table")
        return {unit: list(entries) for unit, entries in zip(kept.units, kept.entries, strict=True)}
    table = yield from build_table(units, menu, measured)
    write_kept(path, Kept(tuple(table), tuple(tuple(entries) for entries in table.values())), Kept)
    return table


def whole_of(
    tables: Sequence[Table], menu: Menu, measured: Measured, *, samples: int
) -> Generator[Progress, None, Whole]:
    """The one correction of all tables of a model: from the cache, or fitted now and put there.

    Raises: CorruptFileError for a cache that cannot be read.
    """
    path = _path("whole", menu, measured, [list(table) for table in tables], samples)
    if path.is_file():
        return read_kept(path, Whole, "a correction of times")
    task = measured.yardstick.task
    whole = yield from fit_whole(measured.model, tables, menu.target, task, samples=samples, coded=menu.coded)
    write_kept(path, whole, Whole)
    return whole


def stopwatch_of(menu: Menu, measured: Measured, dense_ms: float) -> Stopwatch:
    """What times plans of the model that is `measured`, and those that were timed already.

    Raises: CorruptFileError for a cache that cannot be read.
    """
    machine = table_path(menu.target)
    path = machine.with_name(f"plans-{machine.stem}-{_key(FORMAT, measured.digest, menu.target)}.json")
    return Stopwatch(measured.model, menu.target, measured.yardstick.task, dense_ms, path)


def measured_of(model: nn.Module, units: Sequence[Unit], menu: Menu, yardstick: Yardstick) -> Measured:
    """What is known of `model` already, in whichever engine it was asked for. See `Measured`."""
    batch_size, digest = menu.target.batch_size, digest_of(model, yardstick)
    path = table_path(menu.target).with_name(f"facts-{_key(FACTS_FORMAT, digest, units, menu.coded, batch_size)}.json")
    return Measured(model, units, yardstick, coded=menu.coded, batch_size=batch_size, digest=digest, path=path)


def _path(kind: str, menu: Menu, measured: Measured, *parts: object) -> Path:
    machine = table_path(menu.target)
    return machine.with_name(f"{kind}-{machine.stem}-{_key(FORMAT, measured.digest, menu, *parts)}.json")


def _key(form: int, *parts: object) -> str:
    return hashlib.sha256(f"{form} {parts}".encode()).hexdigest()[:16]
