"""Option tables: what each option of each unit loses by itself, and what it costs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from paring.allocate.costs import kind_of, operations, sized_inputs, stored_bytes
from paring.allocate.losses import Yardstick
from paring.allocate.made import made, swapped
from paring.allocate.option import PRECISIONS, Option, Precision, Unit, precision_passes, structure_passes
from paring.allocate.prior import Prior, prior_of
from paring.clock.costs import Cost, Kind, costs_ms
from paring.core.edit import Progress
from paring.core.target import Target
from paring.graph.capture import input_shapes
from paring.graph.replay import Recording, record
from paring.graph.sites import submodule
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
    """One option of one unit. `ms` and `num_layers` by kind of multiplication, before any correction."""

    option: Option
    loss: float
    num_bytes: float
    ms: Mapping[str, float]
    num_layers: Mapping[str, int]


Table = dict[Unit, list[Entry]]


@dataclass(frozen=True)
class Known:
    """Options of units, and the model with every layer in one precision, that are there already."""

    table: Table = field(default_factory=dict)
    rounded: dict[Precision, nn.Module] = field(default_factory=dict)


def build_table(
    model: nn.Module, units: Sequence[Unit], menu: Menu, yardstick: Yardstick, known: Known
) -> Generator[Progress, None, Table]:
    """Every unit's options that no other beats, on `model` (float, batch norms folded).

    Each is fitted on the yardstick's calibration data and measured on its own. Options whose loss the curvature already
    foretells to be hopeless are not measured; what is `known` of the same model and menu is not made again.
    """
    layers = [layer for unit in units if not unit.is_table for layer in unit.layers]
    prior = prior_of(model, layers, yardstick)
    for place, precision in enumerate(menu.precisions_of()[1:]):
        if precision not in known.rounded:
            yield Progress(place, len(menu.precisions_of()) - 1, f"every layer in {precision}")
            steps = precision_passes({unit: Option(precision=precision) for unit in units})
            known.rounded[precision] = made(model, yardstick.task, steps)
    table: Table = {}
    start = yardstick.loss(model)
    recording = record(
        model, yardstick.task, yardstick.data, [unit.layers for unit in units if unit not in known.table]
    )
    for count, unit in enumerate(units):
        yield Progress(count, len(units), f"options of {unit.name}")
        if unit in known.table:
            table[unit] = known.table[unit]
            continue
        rows = list(_entries(model, unit, menu, yardstick, prior, known.rounded, start, recording))
        costs = np.array([[entry.num_bytes, *(entry.ms.get(kind, 0.0) for kind in KINDS)] for entry in rows])
        kept = undominated(np.array([entry.loss for entry in rows]), costs)
        # The model as it is stays in the table, even where half precision loses nothing of it.
        table[unit] = [rows[place] for place in dict.fromkeys([0, *kept])]
    return table


def _entries(
    model: nn.Module,
    unit: Unit,
    menu: Menu,
    yardstick: Yardstick,
    prior: Prior,
    whole: Mapping[Precision, nn.Module],
    start: float,
    recording: Recording,
) -> Iterable[Entry]:
    task = yardstick.task
    lost: dict[Option, float] = {}
    structured: dict[Option, tuple[nn.Module, dict[str, Cost]]] = {}
    for structure in menu.structures(unit):
        made_so = model if structure == Option() else made(model, task, structure_passes({unit: structure}))
        shapes = input_shapes(made_so, list(unit.layers), sized_inputs(task, menu.target.batch_size))
        structured[structure] = made_so, operations(made_so, unit.layers, shapes)
    for structure, precision in _worth_measuring(unit, menu, prior, whole, structured):
        made_so, ops = structured[structure]
        option = Option(structure.structure, structure.amount, precision)
        if precision == "float":
            built = made_so
        elif structure == Option():
            built = swapped(model, whole[precision], unit.layers)
        else:
            built = made(made_so, task, precision_passes({unit: option}))
        known = lost.get(Option(structure.structure, structure.amount)), lost.get(Option(precision=precision))
        if option == Option():
            lost[option] = 0.0
        elif precision == "half" and structure != Option() and None not in known:
            lost[option] = sum(one for one in known if one is not None)  # so little that it only adds up
        else:
            with recording.playing(built, unit.layers):
                lost[option] = max(start, yardstick.loss(built)) - start
        if np.isfinite(lost[option]):
            num_bytes = stored_bytes(built, unit.layers, coded=menu.coded)
            yield Entry(option, lost[option], num_bytes, *_times(built, ops, menu.target))


def _times(built: nn.Module, ops: Mapping[str, Cost], target: Target) -> tuple[dict[str, float], dict[str, int]]:
    wanted = {name: Cost(op.chain, op.shape, kind_of(submodule(built, name))) for name, op in ops.items()}
    timed = costs_ms(wanted.values(), target)
    ms: dict[str, float] = {}
    num_layers: dict[str, int] = {}
    for one in wanted.values():
        ms[one.kind] = ms.get(one.kind, 0.0) + timed[one]
        num_layers[one.kind] = num_layers.get(one.kind, 0) + 1
    return ms, num_layers


def _worth_measuring(
    unit: Unit,
    menu: Menu,
    prior: Prior,
    whole: Mapping[Precision, nn.Module],
    structured: Mapping[Option, tuple[nn.Module, dict[str, Cost]]],
) -> list[tuple[Option, Precision]]:
    """Composites without those whose structure is guessed hopeless beside one no dearer at the same precision."""
    rounding = {precision: _guess(prior, unit, other) for precision, other in whole.items()} | {"float": 0.0}
    cutting: dict[Option, float | None] = {}
    size: dict[Option, float] = {}
    time: dict[Option, float] = {}
    for one, (built, ops) in structured.items():
        # With fewer channels the layers' inputs and outputs are no longer comparable.
        cutting[one] = 0.0 if one == Option() else None if one.structure == "width" else _guess(prior, unit, built)
        size[one] = stored_bytes(built, unit.layers, coded=menu.coded)
        timed = costs_ms(ops.values(), menu.target)
        time[one] = sum(timed[op] for op in ops.values())

    def hopeless(one: Option, precision: Precision) -> bool:
        guess, rounded = cutting[one], rounding[precision]
        return (
            guess is not None
            and rounded is not None
            and any(
                better is not None and HOPELESS * (better + rounded) < guess + rounded
                for other, better in cutting.items()
                if size[other] <= size[one] and time[other] <= time[one]
            )
        )

    pairs = [(structure, precision) for structure in structured for precision in menu.precisions_of()]
    return [pair for pair in pairs if not hopeless(*pair)]


def _guess(prior: Prior, unit: Unit, other: nn.Module) -> float | None:
    guesses = [prior.loss(layer, submodule(other, layer)) for layer in unit.layers] if not unit.is_table else [None]
    known = [one for one in guesses if one is not None]
    return sum(known) if len(known) == len(guesses) else None
