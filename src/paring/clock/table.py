"""The latency table of layer shapes: measured once a machine, engine and setting, and kept as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from paring.clock.chain import Chain
from paring.clock.file import INPUT, chain_file, chain_input
from paring.core.atomic import cache_home, write_atomically
from paring.core.measurement import Ratio, Verdict
from paring.core.target import Target
from paring.engines import engine_versions, machine, open_session
from paring.errors import CorruptFileError
from paring.measure.latency import compare, interleave, noise_floor, verdict

FORMAT = 3  # of the files that are timed, and of what is kept of their times
BLOCKS, BLOCK_MS = 16, 4.0
DENSE, AGAIN = "dense", "dense again"


@dataclass(frozen=True)
class Timing:
    """A chain against the dense layer, timed in the same blocks. `speedup` above 1 means that the chain is faster."""

    option_ms: float
    dense_ms: float
    speedup: Ratio
    verdict: Verdict


def timings(
    dense: Chain, options: Sequence[Chain], shape: tuple[int, ...], target: Target, *, int8: bool = False
) -> dict[Chain, Timing]:
    """Each option against `dense` on an input of this shape: from the table, or measured now and put there.

    Args:
        shape: of the layer's input, the batch included.
        int8: time the quantized form of dense and options alike.
    Raises: EngineError if the engine or precision is not there; CorruptFileError for a table that cannot be read.
    """
    path = table_path(target)
    table = _read(path)
    keys = {option: key(dense, option, shape, target, int8=int8) for option in options}
    missing = [option for option in dict.fromkeys(options) if keys[option] not in table]
    if missing:
        measured = _measure(dense, missing, shape, target, int8)
        store(path, {keys[option]: timing for option, timing in measured.items()})
        table = _read(path)
    return {option: table[name] for option, name in keys.items()}


def key(dense: Chain, option: Chain, shape: tuple[int, ...], target: Target, *, int8: bool = False) -> str:
    """What a timing stands under in the table: readable, so that a table can be checked by eye."""
    kind = " int8" if int8 else ""
    return f"{_words(option)} for {_words(dense)} on {shape}, {target}{kind}, {target.threads} threads"


def table_path(target: Target) -> Path:
    """The table of this machine and this version of the engine: `$XDG_CACHE_HOME/paring/clock/...json`."""
    here = machine()
    version = engine_versions().get(target.engine)
    facts = [here["cpu"], here["flags"], here["usable_cores"], target.engine, version, FORMAT]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return cache_home() / "clock" / f"{target.engine}-{name}.json"


def store(path: Path, measured: dict[str, Timing]) -> None:
    """Adds timings to the table at `path`, whole or not at all."""
    rows = {name: asdict(timing) for name, timing in (_read(path) | measured).items()}
    write_atomically(path, json.dumps(rows, indent=1, sort_keys=True).encode())


def _read(path: Path) -> dict[str, Timing]:
    if not path.is_file():
        return {}
    try:
        rows: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {name: Timing(**(row | {"speedup": Ratio(**row["speedup"])})) for name, row in rows.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(f"{path}: cannot be read as a latency table. Remove it to measure anew.") from error


def _measure(
    dense: Chain, options: Sequence[Chain], shape: tuple[int, ...], target: Target, int8: bool
) -> dict[Chain, Timing]:
    names = {f"option {place}": option for place, option in enumerate(options)}
    with TemporaryDirectory() as folder:
        runners = {}
        for name, chain in {DENSE: dense, AGAIN: dense, **names}.items():
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(chain_file(chain, shape, int8=int8))
            static = {INPUT: shape} if target.static_shapes else None
            runners[name] = open_session(path, target, static=static).prepare(chain_input(chain, shape))
        samples = interleave(runners, blocks=BLOCKS, min_block_ms=BLOCK_MS, threads=target.threads)
    floor = noise_floor(samples, DENSE, AGAIN)
    dense_ms = samples.latency_ms(DENSE)["p50"]
    return {
        option: Timing(
            option_ms=samples.latency_ms(name)["p50"],
            dense_ms=dense_ms,
            speedup=compare(samples, DENSE, name),
            verdict=verdict(samples, DENSE, name, floor),
        )
        for name, option in names.items()
    }


def _words(chain: Chain) -> str:
    return " > ".join(str(op) for op in chain)
