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

BLOCKS, BLOCK_MS = 24, 20.0  # many: one quiet stretch is enough
TRUST = 0.3  # in the parts as they were measured
MOSTLY = 0.8  # of the units in one precision, in every other mix: the solver's plans are such


@dataclass(frozen=True)
class Whole:
    """`ms = weights . features + ms_per_mb * max(0, megabytes read - knee_mb)`, `bytes = overhead + sum of parts`.

    Times are those of a quiet machine (`Samples.quiet_ms`); where others use it, medians lie above them.

    Layers are timed one by one with their weights in the caches; a model reads them all in turn, and what goes beyond
    the caches comes from memory, call by call. `residuals` are relative, of files left out of the fit. `dense_ms` and
    `dense_bytes` are of the exported model as it came, not coded. `node_bytes`: what a layer in each precision takes in
    the file's graph beyond one in floats.
    """

    weights: tuple[float, ...]
    residuals: tuple[float, ...]
    overhead_bytes: float
    dense_ms: float
    dense_bytes: float
    node_bytes: Mapping[str, float] = field(default_factory=dict)
    knee_mb: float = 0.0
    ms_per_mb: float = 0.0

    @property
    def residual(self) -> float:
        """Root mean square of the relative errors."""
        return float(np.sqrt(np.square(self.residuals).mean())) if self.residuals else 0.0

    def parts(self, entry: Entry) -> NDArray[np.float64]:
        """(3,): what this entry adds to the time of a model that the caches hold, to that of one that they do not, and
        to the file. The larger of the two times is the model's."""
        held = float(_features(entry) @ np.array(self.weights[1:]))
        return np.array([held, held + self.ms_per_mb * entry.read_mb, self.part_bytes(entry)])

    def rest(self) -> NDArray[np.float64]:
        """(3,): what the model has of each beside its entries."""
        return np.array([self.weights[0], self.weights[0] - self.ms_per_mb * self.knee_mb, self.overhead_bytes])

    def ms(self, entries: Sequence[Entry]) -> float:
        """The whole model's time."""
        return float((self.rest() + np.sum([self.parts(entry) for entry in entries], axis=0))[:2].max())

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
    measured = np.array([taken.quiet_ms(str(place)) for place in range(len(mixes))])
    features = np.array([[1.0, *np.sum([_features(entry) for entry in mix.values()], axis=0)] for mix in mixes])
    read_mb = np.array([sum(entry.read_mb for entry in mix.values()) for mix in mixes])
    prior, strength = (np.array([0.0] + [one] * len(KINDS)) for one in (1.0, TRUST))
    found = fit(features, measured, prior, strength, read_mb)
    return Whole(
        weights=tuple(float(one) for one in found.weights_F),
        residuals=tuple(float(one) for one in found.residual_N),
        overhead_bytes=beside[0],
        dense_ms=float(measured[0]),
        dense_bytes=dense_bytes,
        node_bytes={} if coded else _node_bytes(mixes, beside),
        knee_mb=found.knee,
        ms_per_mb=found.slope,
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
    """The model as it is, each precision everywhere, then options drawn at random: every other time MOSTLY of one
    precision, each precision in its turn."""
    rng = np.random.default_rng(seed)
    plain = [{unit: entries[0] for unit, entries in table.items()}]
    kinds = sorted({entry.option.precision for entries in table.values() for entry in entries}, reverse=True)
    kinds.sort(key=lambda precision: precision == DENSE.precision)  # last: the plainest mix is in floats already
    uniform = [
        {unit: _with_precision(entries, precision) for unit, entries in table.items()}
        for precision in kinds
        if precision != DENSE.precision
    ]
    drawn = []
    for place in range(samples):
        mostly = kinds[place // 2 % len(kinds)] if place % 2 else None
        drawn.append({unit: _drawn(entries, mostly, rng) for unit, entries in table.items()})
    return [*plain, *uniform, *drawn][: max(2, samples)]


def _drawn(entries: Sequence[Entry], mostly: str | None, rng: np.random.Generator) -> Entry:
    own = [entry for entry in entries if entry.option.precision == mostly]
    among = own if own and rng.random() < MOSTLY else entries
    return among[int(rng.integers(len(among)))]


def _with_precision(entries: Sequence[Entry], precision: str) -> Entry:
    return next((one for one in entries if one.option == Option(precision=precision)), entries[0])  # type: ignore[arg-type]


def _features(entry: Entry) -> NDArray[np.float64]:
    return np.array([entry.ms.get(kind, 0.0) for kind in KINDS])
