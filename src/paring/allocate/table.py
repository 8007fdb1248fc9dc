"""Option tables: what each option of each unit loses by itself, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Base64Bytes

from paring.allocate.measured import Measured
from paring.allocate.option import DENSE, PRECISIONS, Option, Precision, Unit
from paring.clock.costs import Cost, Kind, costs_ms
from paring.core.edit import Progress
from paring.core.target import Target
from paring.numerics.knapsack import undominated

KINDS: tuple[Kind, ...] = ("float", "int8", "stored8", "stored4")
HOPELESS = 8.0  # times another option's guessed loss, at no lower cost: not worth measuring


@dataclass(frozen=True)
class Menu:
    """Which options there are, in what they run, and how bytes are counted."""

    widths: tuple[float, ...]
    ranks: tuple[float, ...]
    sparsities: tuple[float, ...]
    precisions: tuple[Precision, ...]
    target: Target
    coded: bool

    def structures(self, unit: Unit) -> list[Option]:
        """What a unit's layers may become before their numbers are rounded; as they are comes first."""
        found = [Option()]
        if unit.producers:
            found += [Option("width", ratio) for ratio in self.widths]
        if unit.linears:
            found += [Option("rank", ratio) for ratio in self.ranks]
        if self.coded and not unit.is_table:  # zeros change neither a plain file nor its time
            found += [Option("sparsity", sparsity) for sparsity in self.sparsities]
        return found

    def precisions_of(self) -> list[Precision]:
        """Floats first, always among them."""
        return [one for one in PRECISIONS if one == "float" or one in self.precisions]


@dataclass(frozen=True)
class Entry:
    """One option of one unit. `ms` by kind of multiplication, before any correction; `num_layers` with each factor of a
    low rank as one; `direction` is that of the answers' move (see `moves`), empty where nothing is said of it;
    `read_mb` are the megabytes of weights that a call reads, `outputs` the millions of numbers that it gives."""

    option: Option
    loss: float
    num_bytes: float
    ms: Mapping[str, float]
    num_layers: int
    direction: Base64Bytes = b""
    read_mb: float = 0.0
    outputs: float = 0.0


Table = dict[Unit, list[Entry]]


def features(entry: Entry) -> NDArray[np.float64]:
    """(KINDS + 1,): what the time of a model is a weighted sum of: by kind, and its outputs."""
    return np.array([*(entry.ms.get(kind, 0.0) for kind in KINDS), entry.outputs])


def families(table: Table) -> Iterator[Table]:
    """The table with one family of its options at a time: bits alone, and every structure alone in floats.

    They are within the table itself, but losses of options are added as if none knew of the others, and what a single
    family loses is often foretold better than what a mix loses.
    """
    structures = {entry.option.structure for entries in table.values() for entry in entries} - {DENSE.structure}
    yield _only(table, lambda option: option.structure == DENSE.structure)
    for structure in sorted(structures):
        yield _only(table, lambda option, own=structure: option in (DENSE, Option(own, option.amount)))  # type: ignore[misc]


def in_precision(entries: Sequence[Entry], precision: Precision) -> Entry:
    """A unit's entry in this precision and no other structure; as it is, where there is none."""
    return next((one for one in entries if one.option == Option(precision=precision)), entries[0])


def build_table(units: Sequence[Unit], menu: Menu, measured: Measured) -> Generator[Progress, None, Table]:
    """Every unit's options that no other beats.

    Each is fitted on the yardstick's calibration data and measured on its own. Options whose loss the curvature already
    foretells to be hopeless are not measured; what is known is not measured again, and what is new is kept after each
    unit.
    """
    table: Table = {}
    for count, unit in enumerate(units):
        yield Progress(count, len(units), f"options of {unit.name}")
        rows = list(_entries(unit, menu, measured))
        costs = np.array([[one.num_bytes, one.read_mb, *features(one)] for one in rows])
        kept = undominated(np.array([entry.loss for entry in rows]), costs)
        # The model as it is stays in the table, even where half precision loses nothing of it.
        table[unit] = [rows[place] for place in dict.fromkeys([0, *kept])]
        measured.save()
    return table


def _entries(unit: Unit, menu: Menu, measured: Measured) -> Iterable[Entry]:
    for structure, precision in _worth_measuring(unit, menu, measured):
        option = Option(structure.structure, structure.amount, precision)
        made = measured.option(unit, option)
        if made.loss is not None:
            read_mb = sum(one.read_bytes for one in made.operations) / 1e6
            outputs = sum(one.num_outputs for one in made.operations) / 1e6
            num_layers = sum(len(one.chain) for one in made.operations)
            ms = _times(made.operations, menu.target)
            yield Entry(option, made.loss, made.num_bytes, ms, num_layers, made.direction, read_mb, outputs)


def _times(operations: Sequence[Cost], target: Target) -> dict[str, float]:
    timed = costs_ms(operations, target)
    ms: dict[str, float] = {}
    for one in operations:
        ms[one.kind] = ms.get(one.kind, 0.0) + timed[one]
    return ms


def _worth_measuring(unit: Unit, menu: Menu, measured: Measured) -> list[tuple[Option, Precision]]:
    """Composites without those whose structure is guessed hopeless beside one no dearer at the same precision."""
    cuts = {structure: measured.cut(unit, structure) for structure in menu.structures(unit)}
    rounding = {precision: measured.rounding(unit, precision) for precision in menu.precisions_of()}
    timed = costs_ms([op for cut in cuts.values() for op in cut.operations.values()], menu.target)
    time = {structure: sum(timed[op] for op in cut.operations.values()) for structure, cut in cuts.items()}

    def hopeless(one: Option, precision: Precision) -> bool:
        guess, rounded = cuts[one].guess, rounding[precision]
        return (
            guess is not None
            and rounded is not None
            and any(
                cut.guess is not None and HOPELESS * (cut.guess + rounded) < guess + rounded
                for other, cut in cuts.items()
                if cut.num_bytes <= cuts[one].num_bytes and time[other] <= time[one]
            )
        )

    pairs = [(structure, precision) for structure in cuts for precision in menu.precisions_of()]
    return [pair for pair in pairs if not hopeless(*pair)]


def _only(table: Table, keeps: Callable[[Option], bool]) -> Table:
    return {unit: [entry for entry in entries if keeps(entry.option)] for unit, entries in table.items()}
