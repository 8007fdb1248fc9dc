"""From the parts to the whole model: a correction fitted on exported files, and how far it is off."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import nn

from paring.allocate.costs import sized_inputs, stored_bytes
from paring.allocate.made import made, shaped
from paring.allocate.option import DENSE, Option, Unit, precision_passes, structure_passes
from paring.allocate.table import KINDS, Entry, Table
from paring.artifacts.onnx import write_onnx
from paring.container.file import pack
from paring.core.edit import Progress
from paring.core.target import Target
from paring.core.task import Task
from paring.engines import open_session
from paring.measure.latency import interleave
from paring.measure.quality import file_inputs
from paring.numerics.additive import fit

BLOCKS, BLOCK_MS = 12, 30.0  # as long as it takes until a large model has the caches to itself
TRUST = 0.3  # in the parts as they were measured
POWERS = (1.0, 1.15, 1.3, 1.5)  # above 1: a model takes longer than its parts where the caches hold these and not it


@dataclass(frozen=True)
class Whole:
    """`ms = (weights . features) ** power`, `bytes = overhead + sum of parts`; residuals of files left out of the fit.

    `dense_ms` and `dense_bytes` are of the exported model as it came, not coded. `node_bytes`: what a layer in each
    precision takes in the file's graph beyond one in floats.
    """

    weights: tuple[float, ...]
    residuals: tuple[float, ...]
    overhead_bytes: float
    dense_ms: float
    dense_bytes: float
    node_bytes: Mapping[str, float] = field(default_factory=dict)
    power: float = 1.0

    @property
    def residual(self) -> float:
        """Root mean square of the relative errors."""
        return float(np.sqrt(np.square(self.residuals).mean())) if self.residuals else 0.0

    def part_time(self, entry: Entry) -> float:
        """What this entry adds to the `power`-th root of the whole model's milliseconds."""
        return float(_features(entry) @ np.array(self.weights[1:]))

    def room(self, ms: float) -> float:
        """What `part_time` of all entries may sum to for this time."""
        return float(ms ** (1 / self.power)) - self.weights[0]

    def slope(self, ms: float) -> float:
        """By how much `room` grows with one millisecond more; 0 where time is free."""
        return float(ms ** (1 / self.power - 1)) / self.power if np.isfinite(ms) else 0.0

    def taken(self, part_times: float) -> float:
        """The whole model's milliseconds for entries whose `part_time` sums to this."""
        return float((self.weights[0] + part_times) ** self.power)

    def ms(self, entries: Sequence[Entry]) -> float:
        """The whole model's time."""
        return self.taken(sum(self.part_time(entry) for entry in entries))

    def part_bytes(self, entry: Entry) -> float:
        """What this entry adds to the whole file."""
        return entry.num_bytes + self.node_bytes.get(entry.option.precision, 0.0) * sum(entry.num_layers.values())

    def num_bytes(self, entries: Sequence[Entry]) -> float:
        """The whole file's bytes."""
        return self.overhead_bytes + sum(map(self.part_bytes, entries))


def fit_whole(
    model: nn.Module, table: Table, target: Target, task: Task, *, samples: int, coded: bool = False
) -> Generator[Progress, None, Whole]:
    """Exports `samples` mixes of options (the model as it is first), times them in turns, and fits.

    Where bytes are `coded`, what a file holds beside its layers is taken from the container of the model in int8.
    Raises: ExportError, EngineError if a file cannot be written or run.
    """
    mixes = mixes_of(table, samples, task.seed)
    runners, beside, dense_bytes = {}, [], 0.0
    with TemporaryDirectory() as folder:
        for place, mix in enumerate(mixes):
            yield Progress(place, len(mixes), "exporting whole models to time")
            path = Path(folder) / f"{place}.onnx"
            write_onnx(shaped(model, task, {unit: entry.option for unit, entry in mix.items()}), task, path)
            dense_bytes = dense_bytes or float(path.stat().st_size)
            beside.append(float(path.stat().st_size - sum(entry.num_bytes for entry in mix.values())))
            session = open_session(path, target)
            inputs = file_inputs(session, sized_inputs(task, target.batch_size))
            if target.static_shapes:
                session = open_session(path, target, static={name: array.shape for name, array in inputs.items()})
            runners[str(place)] = session.prepare(inputs)
        if coded:
            beside[0] = _beside_coded(model, table, task, Path(folder) / "coded.onnx")
        yield Progress(len(mixes), len(mixes), "timing whole models in turns")
        taken = interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS, threads=target.threads)
    measured = np.array([taken.latency_ms(str(place))["p50"] for place in range(len(mixes))])
    features = np.array([[1.0, *np.sum([_features(entry) for entry in mix.values()], axis=0)] for mix in mixes])
    prior, strength = (np.array([0.0] + [one] * len(KINDS)) for one in (1.0, TRUST))
    found = fit(features, measured, prior, strength, POWERS)
    return Whole(
        tuple(float(one) for one in found.weights_F),
        tuple(float(one) for one in found.residual_N),
        beside[0],
        float(measured[0]),
        dense_bytes,
        {} if coded else _node_bytes(mixes, beside),
        found.power,
    )


def _node_bytes(mixes: Sequence[Mapping[Unit, Entry]], beside: Sequence[float]) -> dict[str, float]:
    """Of the mixes that are in one precision and no other structure: what each layer of it takes beside its numbers.

    Random mixes say nothing of it: floats that half precision holds without loss are stored so next to other halves.
    """
    found: dict[str, float] = {}
    for mix, num_bytes in zip(mixes, beside, strict=True):
        changed = [entry for entry in mix.values() if entry.option != DENSE]
        kinds = {entry.option for entry in changed}
        layers = sum(sum(entry.num_layers.values()) for entry in changed)
        if layers and len(kinds) == 1 and (option := kinds.pop()).structure == DENSE.structure:
            found[option.precision] = (num_bytes - beside[0]) / layers
    return found


def _beside_coded(model: nn.Module, table: Table, task: Task, path: Path) -> float:
    in_int8 = made(model, task, precision_passes({unit: Option(precision="int8") for unit in table}))
    write_onnx(in_int8, task, path)
    layers = [layer for unit in table for layer in unit.layers]
    return pack(path, path.with_suffix(".paring")).coded_bytes - stored_bytes(in_int8, layers, coded=True)


def joint(model: nn.Module, task: Task, choice: Mapping[Unit, Option]) -> nn.Module:
    """A copy of `model` with every unit as chosen."""
    return made(model, task, [*structure_passes(choice), *precision_passes(choice)])


def mixes_of(table: Table, samples: int, seed: int) -> list[dict[Unit, Entry]]:
    """The model as it is, each precision everywhere, then options drawn at random."""
    rng = np.random.default_rng(seed)
    plain = [{unit: entries[0] for unit, entries in table.items()}]
    kinds = sorted({entry.option.precision for entries in table.values() for entry in entries} - {"float"})
    uniform = [
        {unit: _with_precision(entries, precision) for unit, entries in table.items()} for precision in reversed(kinds)
    ]
    drawn = [
        {unit: entries[int(rng.integers(len(entries)))] for unit, entries in table.items()} for _ in range(samples)
    ]
    return [*plain, *uniform, *drawn][: max(2, samples)]


def _with_precision(entries: Sequence[Entry], precision: str) -> Entry:
    return next((one for one in entries if one.option == Option(precision=precision)), entries[0])  # type: ignore[arg-type]


def _features(entry: Entry) -> NDArray[np.float64]:
    return np.array([entry.ms.get(kind, 0.0) for kind in KINDS])
