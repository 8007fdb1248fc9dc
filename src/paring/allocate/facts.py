"""Facts of units that hold in every engine, as JSON, and the digest of the model and the data that they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import Base64Bytes
from torch import nn

from paring.allocate.kept import read_kept, write_kept
from paring.allocate.losses import Yardstick, divergence
from paring.allocate.option import Option, Precision, Unit
from paring.clock.costs import Cost
from paring.core.task import tensors_of
from paring.graph.state import named_tensors, tensor_bytes


@dataclass(frozen=True)
class Cut:
    """A unit's layers in another structure, in floats. `guess` is the loss by curvature, None where it has no say."""

    guess: float | None
    num_bytes: float
    operations: Mapping[str, Cost]


@dataclass(frozen=True)
class Made:
    """A unit's layers as one option. `loss` is None where the answers are not finite; `direction` is that of their move
    (see `moves`), empty where nothing is said of it."""

    loss: float | None
    num_bytes: float
    operations: tuple[Cost, ...]
    direction: Base64Bytes = b""


@dataclass(frozen=True)
class Facts:
    """All that is known of a unit. `rounding` is the loss by curvature of each precision, None as in a cut."""

    cuts: dict[Option, Cut] = field(default_factory=dict)
    rounding: dict[Precision, float | None] = field(default_factory=dict)
    options: dict[Option, Made] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    """Facts as they lie on disk: JSON has no keys but strings."""

    unit: Unit
    cuts: list[tuple[Option, Cut]]
    rounding: list[tuple[Precision, float | None]]
    options: list[tuple[Option, Made]]


def read_facts(path: Path) -> dict[Unit, Facts]:
    """What `write_facts` wrote. Raises CorruptFileError."""
    rows = read_kept(path, list[_Row], "measured options")
    return {row.unit: Facts(dict(row.cuts), dict(row.rounding), dict(row.options)) for row in rows}


def write_facts(facts: Mapping[Unit, Facts], path: Path) -> None:
    """Whole or not at all, beside what another process has put there meanwhile."""
    theirs = read_facts(path) if path.is_file() else {}
    none = Facts()
    facts = {
        unit: Facts(
            theirs.get(unit, none).cuts | facts.get(unit, none).cuts,
            theirs.get(unit, none).rounding | facts.get(unit, none).rounding,
            theirs.get(unit, none).options | facts.get(unit, none).options,
        )
        for unit in theirs | dict(facts)
    }
    rows = [
        _Row(unit, list(one.cuts.items()), list(one.rounding.items()), list(one.options.items()))
        for unit, one in facts.items()
    ]
    write_kept(path, rows, list[_Row])


def digest_of(model: nn.Module, yardstick: Yardstick) -> str:
    """Of the weights, the data, the original's answers to the last bit, and what a change of them loses."""
    before, task = yardstick.before, yardstick.task
    lost = divergence(before, 0.9 * before, yardstick.kind, task)  # the task's loss has a say where no KL is
    digest = hashlib.sha256(f"{model!r} {yardstick.kind} {task.seed} {lost:.6e}".encode())
    for name, tensor in named_tensors(model):
        _feed(digest, name, tensor)
    for inputs, _ in (*yardstick.data, *task.real_inputs()):
        for name, tensor in tensors_of(inputs).items():
            _feed(digest, name, tensor)
    _feed(digest, "answers", before)
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, name: str, tensor: torch.Tensor) -> None:
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(tensor_bytes(tensor))
