"""Everything the solver needs to know of one model on one target, built once and kept as JSON."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from paring.allocate.losses import Yardstick
from paring.allocate.option import Unit
from paring.allocate.table import Entry, Known, Menu, Table, build_table
from paring.allocate.whole import Whole, fit_whole
from paring.clock.table import table_path
from paring.core.edit import Progress
from paring.core.task import tensors_of
from paring.errors import CorruptFileError
from paring.graph.state import named_tensors, tensor_bytes

FORMAT = 4


@dataclass(frozen=True)
class Kept:
    """As it lies on disk: units, the entries of each, and the correction."""

    units: tuple[Unit, ...]
    entries: tuple[tuple[Entry, ...], ...]
    whole: Whole


def scene_of(
    model: nn.Module,
    units: Sequence[Unit],
    menu: Menu,
    yardstick: Yardstick,
    *,
    samples: int,
    known: Known,
    whole: Whole | None = None,
) -> Generator[Progress, None, tuple[Table, Whole]]:
    """Table and correction for `model` (float, batch norms folded): from the cache, or built now and put there.

    `known` and the correction `whole` are what is there of other units of the same model; `known` is added to.
    Raises: CorruptFileError for a cache that cannot be read.
    """
    path = _path(model, units, menu, yardstick, samples)
    if path.is_file():
        yield Progress(1, 1, f"option table from {path}")
        return _read(path)
    table = yield from build_table(model, units, menu, yardstick, known)
    known.table.update(table)
    if whole is None:
        whole = yield from fit_whole(model, table, menu.target, yardstick.task, samples=samples, coded=menu.coded)
    kept = Kept(tuple(table), tuple(tuple(entries) for entries in table.values()), whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(TypeAdapter(Kept).dump_json(kept, indent=1))
    partial.replace(path)
    return table, whole


def _read(path: Path) -> tuple[Table, Whole]:
    try:
        kept = TypeAdapter(Kept).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFileError(f"{path}: cannot be read as an option table. Remove it to build it anew.") from error
    return {unit: list(entries) for unit, entries in zip(kept.units, kept.entries, strict=True)}, kept.whole


def _path(model: nn.Module, units: Sequence[Unit], menu: Menu, yardstick: Yardstick, samples: int) -> Path:
    """Beside this machine's latency tables, named for the weights, the data and the menu."""
    digest = hashlib.sha256(f"{FORMAT} {model!r} {units} {menu} {samples} {yardstick.kind}".encode())
    for name, tensor in named_tensors(model):
        _feed(digest, name, tensor)
    for inputs, _ in (*yardstick.data, *yardstick.task.real_inputs()):
        for name, tensor in tensors_of(inputs).items():
            _feed(digest, name, tensor)
    _feed(digest, "answers", yardstick.before)
    machine = table_path(menu.target)
    return machine.with_name(f"options-{machine.stem}-{digest.hexdigest()[:16]}.json")


def _feed(digest: hashlib._Hash, name: str, tensor: torch.Tensor) -> None:
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(tensor_bytes(tensor))
