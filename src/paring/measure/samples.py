"""Raw timings of several runners, taken in the same blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from paring.errors import CorruptFileError, UnknownNameError

PERCENTILES = {"p50": 50, "p90": 90, "p99": 99}


@dataclass(frozen=True, eq=False)
class Samples:
    """Timings in nanoseconds. Block i of one runner and block i of another were taken next to each other.

    `wall_ns[name]` is (blocks, reps), one number a call; `cpu_ns[name]` is (blocks,), processor time of the whole
    process per call, all threads. `context` holds what produced them: threads, cores, seed, block order.
    """

    wall_ns: Mapping[str, NDArray[np.int64]]
    cpu_ns: Mapping[str, NDArray[np.float64]]
    threads: int = 1
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.wall_ns)

    @property
    def lives(self) -> int:
        """How many times the files were opened anew: blocks come in so many groups of equal length."""
        return int(self.context.get("lives", 1))

    def blocks(self, name: str) -> NDArray[np.float64]:
        """Median wall time per call in each block, (blocks,): one call that was interrupted does not move it."""
        return np.asarray(np.median(self._wall(name), axis=1), np.float64)

    def cpu_blocks(self, name: str) -> NDArray[np.float64]:
        """Processor time per call in each block, (blocks,)."""
        self._wall(name)
        return np.asarray(self.cpu_ns[name], np.float64)

    def latency_ms(self, name: str) -> dict[str, float]:
        """`{"p50", "p90", "p99"}` over all calls."""
        values = np.percentile(self._wall(name), list(PERCENTILES.values())) / 1e6
        return dict(zip(PERCENTILES, values.tolist(), strict=True))

    def quiet_ms(self, name: str) -> float:
        """Median of the fastest block: where others use the machine too, several times as repeatable as that of all."""
        return float(self.blocks(name).min()) / 1e6

    def cpu_ms(self, name: str) -> float:
        """Median over blocks of the processor time per call."""
        return float(np.median(self.cpu_blocks(name))) / 1e6

    def throughput_per_s(self, name: str, batch_size: int = 1) -> float:
        """Examples per second of calls back to back, one at a time."""
        return batch_size * 1e9 / float(self._wall(name).mean())

    def count(self, name: str) -> int:
        """How many calls were timed."""
        return int(self._wall(name).size)

    def save(self, path: str | Path) -> None:
        """Writes a compressed .npz, without pickles."""
        arrays: dict[str, Any] = {f"wall_{index}": self.wall_ns[name] for index, name in enumerate(self.names)}
        arrays |= {f"cpu_{index}": self.cpu_ns[name] for index, name in enumerate(self.names)}
        about = {"names": self.names, "threads": self.threads, "context": dict(self.context)}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)

    @staticmethod
    def load(path: str | Path) -> Samples:
        """What `save` wrote. Raises CorruptFileError."""
        try:
            with np.load(path, allow_pickle=False) as held:
                about = json.loads(str(held["about"]))
                wall = {name: held[f"wall_{index}"] for index, name in enumerate(about["names"])}
                cpu = {name: held[f"cpu_{index}"] for index, name in enumerate(about["names"])}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise CorruptFileError(f"{path}: it holds no samples of Paring ({error}). Measure again.") from error
        return Samples(wall, cpu, about["threads"], about["context"])

    def _wall(self, name: str) -> NDArray[np.int64]:
        if name not in self.wall_ns:
            raise UnknownNameError("runner", name, self.names, "samples")
        return self.wall_ns[name]
