"""Everything the solver needs to know of one model on one target, built once and kept as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from torch import nn

from paring.allocate.facts import digest_of
from paring.allocate.fitting import fit_whole
from paring.allocate.losses import Yardstick
from paring.allocate.measured import Measured
from paring.allocate.option import Unit
from paring.allocate.table import Entry, Menu, Table, build_table
from paring.allocate.whole import Whole
from paring.clock.table import table_path
from paring.core.atomic import write_atomically
from paring.core.edit import Progress
from paring.errors import CorruptFileError

FORMAT, FACTS_FORMAT = 18, 10


@dataclass(frozen=True)
class Kept:
    """As it lies on disk: units, the entries of each, and the correction."""

    units: tuple[Unit, ...]
    entries: tuple[tuple[Entry, ...], ...]
    whole: Whole


def scene_of(
    units: Sequence[Unit], menu: Menu, measured: Measured, *, samples: int, whole: Whole | None = None
) -> Generator[Progress, None, tuple[Table, Whole]]:
    """Table and correction of the model that is `measured`: from the cache, or built now and put there.

    `whole` is the correction, where other units of the model have given it already.
    Raises: CorruptFileError for a cache that cannot be read.
    """
    machine = table_path(menu.target)
    path = machine.with_name(f"options-{machine.stem}-{_key(FORMAT, measured.digest, units, menu, samples)}.json")
    if path.is_file():
        yield Progress(1, 1, f"option table from {path}")
        table, kept_whole = _read(path)
        return table, whole or kept_whole
    table = yield from build_table(units, menu, measured)
    if whole is None:
        task = measured.yardstick.task
        whole = yield from fit_whole(measured.model, table, menu.target, task, samples=samples, coded=menu.coded)
    kept = Kept(tuple(table), tuple(tuple(entries) for entries in table.values()), whole)
    write_atomically(path, TypeAdapter(Kept).dump_json(kept, indent=1))
    return table, whole


def measured_of(model: nn.Module, units: Sequence[Unit], menu: Menu, yardstick: Yardstick) -> Measured:
    """What is known of `model` already, in whichever engine it was asked for. See `Measured`."""
    batch_size, digest = menu.target.batch_size, digest_of(model, yardstick)
    path = table_path(menu.target).with_name(f"facts-{_key(FACTS_FORMAT, digest, units, menu.coded, batch_size)}.json")
    return Measured(model, units, yardstick, coded=menu.coded, batch_size=batch_size, digest=digest, path=path)


def _key(form: int, *parts: object) -> str:
    return hashlib.sha256(f"{form} {parts}".encode()).hexdigest()[:16]


def _read(path: Path) -> tuple[Table, Whole]:
    try:
        kept = TypeAdapter(Kept).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFileError(f"{path}: cannot be read as an option table. Remove it to build it anew.") from error
    return {unit: list(entries) for unit, entries in zip(kept.units, kept.entries, strict=True)}, kept.whole
