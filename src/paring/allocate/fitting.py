"""Whole models exported and timed, and the correction that is fitted to them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from paring.allocate.costs import stored_bytes
from paring.allocate.made import made, shaped
from paring.allocate.option import DENSE, Option, Unit, by_layer, precision_passes
from paring.allocate.plan import NEAREST, Limits, least_of, plan_of
from paring.allocate.stopwatch import BLOCK_MS, BLOCKS, runner_of
from paring.allocate.table import KINDS, Entry, Table, families, features, in_precision
from paring.allocate.whole import Whole
from paring.artifacts.onnx import write_onnx
from paring.container.file import pack
from paring.core.edit import Progress
from paring.core.target import Target
from paring.core.task import Task
from paring.errors import BudgetError
from paring.measure.latency import Runner, interleave
from paring.numerics.additive import fit

FIRST_BLOCKS = 12  # where the fit only finds plans
TRUST = 0.05  # in the parts as they were measured: a part off by all of itself is as one model off by so much
MOSTLY = 0.8  # of the units in one precision, in every other mix: the solver's plans are such
Mix = dict[Unit, Entry]


def fit_whole(
    model: nn.Module, tables: Sequence[Table], target: Target, task: Task, *, samples: int, coded: bool = False
) -> Generator[Progress, None, Whole]:
    """Exports `samples` whole models, times them in turns, and fits.

    Half are mixes of the first table's options, the plainest first: at least one a precision. The others are the
    solver's plans, of every table, by what those say: the sum holds nowhere exactly, and has to where plans lie. Where
    bytes are `coded`, what a file holds beside its layers is taken from the container of the model in int8.
    Raises: ExportError, EngineError if a file cannot be written or run.
    """
    table = tables[0]
    num_plain = len({entry.option.precision for entries in table.values() for entry in entries})
    samples = max(samples, num_plain)
    half = max(num_plain, samples - samples // 2)
    mixes = mixes_of(table, samples, task.seed)
    with TemporaryDirectory() as folder:
        timed = Timed(model, target, task, Path(folder))
        yield from timed.add(mixes[:half], samples)
        if half < samples:
            yield Progress(half, samples, "timing whole models in turns")
            plans = plans_of(tables, timed.fit(FIRST_BLOCKS), samples - half)
            yield from timed.add([*plans, *mixes[half:]], samples)
        yield Progress(samples, samples, "timing whole models in turns")
        return timed.fit(BLOCKS, _beside_coded(model, table, task, Path(folder) / "coded.onnx") if coded else None)


@dataclass
class Timed:
    """Mixes as files in `folder`: their bytes, those beside the entries' own, and a call of each."""

    model: nn.Module
    target: Target
    task: Task
    folder: Path
    mixes: list[Mix] = field(default_factory=list)
    file_bytes: list[float] = field(default_factory=list)
    runners: dict[str, Runner] = field(default_factory=dict)

    def add(self, mixes: Iterable[Mix], most: int) -> Iterator[Progress]:
        """Exports those that are not here yet, to `most` altogether."""
        for mix in mixes:
            choice = _choice(mix)
            if len(self.mixes) == most or by_layer(choice) in (by_layer(_choice(one)) for one in self.mixes):
                continue
            yield Progress(len(self.mixes), most, "exporting whole models to time")
            path = self.folder / f"{len(self.mixes)}.onnx"
            runner = runner_of(shaped(self.model, self.task, choice), self.target, self.task, path)
            self.runners[str(len(self.mixes))] = runner
            self.file_bytes.append(float(path.stat().st_size))
            self.mixes.append(mix)

    def fit(self, blocks: int, beside_coded: float | None = None) -> Whole:
        """Times all in turns, and fits. `beside_coded`: bytes of a container beside its entries, where they count."""
        taken = interleave(self.runners, blocks=blocks, min_block_ms=BLOCK_MS, threads=self.target.threads)
        measured = np.array([taken.quiet_ms(name) for name in self.runners])
        rows = np.array([[1.0, *np.sum([features(entry) for entry in mix.values()], axis=0)] for mix in self.mixes])
        read_mb = np.array([sum(entry.read_mb for entry in mix.values()) for mix in self.mixes]).round(6)  # bytes
        prior, strength = (np.array([0.0, *[one] * len(KINDS), 0.0]) for one in (1.0, TRUST))
        found = fit(rows, measured, prior, strength, read_mb)
        entries = [sum(entry.num_bytes for entry in mix.values()) for mix in self.mixes]
        beside = [size - own for size, own in zip(self.file_bytes, entries, strict=True)]
        return Whole(
            weights=tuple(float(one) for one in found.weights_F),
            residuals=tuple(float(one) for one in found.residual_N),
            overhead_bytes=beside[0] if beside_coded is None else beside_coded,
            dense_ms=float(measured[0]),
            dense_bytes=self.file_bytes[0],
            node_bytes=node_bytes_of(self.mixes, beside) if beside_coded is None else {},
            knee_mb=found.knee,
            ms_per_mb=found.slope,
        )


def plans_of(tables: Sequence[Table], whole: Whole, most: int) -> list[Mix]:
    """The solver's plans of all options of each table, and of bits alone where that is another choice, from the least
    time to near the model's: what is faster than all that was timed is foretold worst."""
    found = []
    bits = next(families(tables[-1]))
    is_choice = bits not in tables and any(len(entries) > 1 for entries in bits.values())
    parts = [*tables, bits] if is_choice else list(tables)
    for share in np.linspace(1, 0, -(-most // len(parts)) + 1)[:-1]:
        for part in parts:
            ms = whole.dense_ms * (least_of(part, whole).ms / whole.dense_ms) ** share
            try:
                choice = plan_of(part, whole, Limits(ms=NEAREST * ms)).choice
            except BudgetError:
                continue
            found.append({unit: next(one for one in part[unit] if one.option == choice[unit]) for unit in part})
    return found[:most]


def mixes_of(table: Table, samples: int, seed: int) -> list[Mix]:
    """The model as it is, each precision everywhere, then options drawn at random: every other time MOSTLY of one
    precision, each precision in its turn."""
    rng = np.random.default_rng(seed)
    plain = [{unit: entries[0] for unit, entries in table.items()}]
    kinds = sorted({entry.option.precision for entries in table.values() for entry in entries}, reverse=True)
    kinds.sort(key=lambda precision: precision == DENSE.precision)  # last: the plainest mix is in floats already
    uniform = [
        {unit: in_precision(entries, precision) for unit, entries in table.items()}
        for precision in kinds
        if precision != DENSE.precision
    ]
    drawn = []
    for place in range(samples):
        mostly = kinds[place // 2 % len(kinds)] if place % 2 else None
        drawn.append({unit: _drawn(entries, mostly, rng) for unit, entries in table.items()})
    return [*plain, *uniform, *drawn][:samples]


def _drawn(entries: Sequence[Entry], mostly: str | None, rng: np.random.Generator) -> Entry:
    own = [entry for entry in entries if entry.option.precision == mostly]
    among = own if own and rng.random() < MOSTLY else entries
    return among[int(rng.integers(len(among)))]


def _choice(mix: Mix) -> dict[Unit, Option]:
    return {unit: entry.option for unit, entry in mix.items()}


def node_bytes_of(mixes: Sequence[Mapping[Unit, Entry]], beside: Sequence[float]) -> dict[str, float]:
    """Of the first mix that is in one precision and no other structure: what each layer of it takes beside its numbers.

    Others say nothing of it: floats that half precision holds without loss are stored so next to other halves.
    """
    found: dict[str, float] = {}
    for mix, num_bytes in zip(mixes, beside, strict=True):
        changed = [entry for entry in mix.values() if entry.option != DENSE]
        kinds = {entry.option for entry in changed}
        layers = sum(entry.num_layers for entry in changed)
        if layers and len(kinds) == 1 and (option := kinds.pop()).structure == DENSE.structure:
            found.setdefault(option.precision, (num_bytes - beside[0]) / layers)
    return found


def _beside_coded(model: nn.Module, table: Table, task: Task, path: Path) -> float:
    in_int8 = made(model, task, precision_passes({unit: Option(precision="int8") for unit in table}))
    write_onnx(in_int8, task, path)
    layers = [layer for unit in table for layer in unit.layers]
    return pack(path, path.with_suffix(".paring")).coded_bytes - stored_bytes(in_int8, layers, coded=True)
