"""What one layer shape costs in an engine on this machine, in milliseconds: measured once and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from paring.clock.chain import Chain, Conv, Gather, num_outputs
from paring.clock.file import chain_file, chain_input
from paring.clock.table import table_path
from paring.core.atomic import write_atomically
from paring.core.target import Target
from paring.engines import open_session
from paring.errors import CorruptFileError
from paring.measure.latency import interleave

Kind = Literal["float", "int8", "stored8", "stored4"]
BLOCKS, BLOCK_MS = 6, 2.0
WEIGHT_BYTES: dict[Kind, float] = {"float": 4.0, "int8": 1.0, "stored8": 1.0, "stored4": 0.5}


@dataclass(frozen=True)
class Cost:
    """A chain on an input of this shape; `int8` with integer inputs and weights, `stored8` with integer weights."""

    chain: Chain
    shape: tuple[int, ...]
    kind: Kind = "float"

    def key(self, target: Target) -> str:
        """What it stands under in the table, readable."""
        words = " > ".join(str(op) for op in self.chain) or "nothing"
        return f"{words} on {self.shape}, {self.kind}, {target}, {target.threads} threads"

    @property
    def read_bytes(self) -> float:
        """Of the numbers that a call multiplies by; of a table, it reads a few rows. No engine multiplies by a
        convolution's integers while its inputs are floats."""
        stored = self.kind in ("stored8", "stored4")
        return sum(
            op.num_params * WEIGHT_BYTES["float" if stored and isinstance(op, Conv) else self.kind]
            for op in self.chain
            if not isinstance(op, Gather)
        )

    @property
    def num_outputs(self) -> int:
        """What a call gives, and what stands behind the layer (activations, sums) works on."""
        return num_outputs(self.chain, self.shape)


def costs_ms(wanted: Iterable[Cost], target: Target) -> dict[Cost, float]:
    """Milliseconds of each, the call into the engine taken off: from the table, or measured now and put there.

    Raises: EngineError if the engine or precision is not there; CorruptFileError for a table that cannot be read.
    """
    path = table_path(target).with_name("costs-" + table_path(target).name)
    table = _read(path)
    every = list(dict.fromkeys([EMPTY, *wanted]))
    missing = [one for one in every if one.key(target) not in table]
    if missing:
        measured = _measure(missing, target)
        table = _read(path) | {one.key(target): ms for one, ms in measured.items()}
        write_atomically(path, json.dumps(table, indent=1, sort_keys=True).encode())
    overhead = table[EMPTY.key(target)]
    return {one: max(0.0, table[one.key(target)] - overhead) for one in every}


EMPTY = Cost((), (1, 1))


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        return {str(name): float(ms) for name, ms in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"{path}: cannot be read as a latency table. Remove it to measure anew.") from error


def _measure(missing: list[Cost], target: Target) -> dict[Cost, float]:
    runners = {}
    with TemporaryDirectory() as folder:
        for place, one in enumerate(missing):
            path = Path(folder) / f"{place}.onnx"
            path.write_bytes(_file(one))
            session = open_session(path, target, static={"x": one.shape} if target.static_shapes else None)
            runners[str(place)] = session.prepare(_input(one))
        samples = interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS, threads=target.threads)
    return {one: samples.quiet_ms(str(place)) for place, one in enumerate(missing)}


def _file(one: Cost) -> bytes:
    if one.chain:
        bits = {"stored8": 8, "stored4": 4}.get(one.kind)
        return chain_file(one.chain, one.shape, int8=one.kind == "int8", stored_bits=bits)
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, one.shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "empty", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _input(one: Cost) -> dict[str, Any]:
    import numpy as np

    return chain_input(one.chain, one.shape) if one.chain else {"x": np.ones(one.shape, np.float32)}
