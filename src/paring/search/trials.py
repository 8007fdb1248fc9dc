"""The log of trials in the run folder: one JSON file each, whole or not there, from which a killed search goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from paring.core.atomic import write_atomically
from paring.core.measurement import Measurement
from paring.errors import CorruptFileError
from paring.search.draws import Choices
from paring.search.failures import Outcome


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried. `drawn`: setting -> (what was drawn, among what); `hash` names its folder."""

    number: int
    name: str
    hash: str
    recipe: str
    outcome: Outcome
    seconds: float
    message: str = ""
    drawn: dict[str, tuple[Any, Choices]] = field(default_factory=dict)
    foretold: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


class Log:
    """The trials of a run folder, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "trials"
        self.trials: list[Trial] = [_read(path) for path in sorted(self._folder.glob("[0-9]*.json"))]

    def add(self, trial: Trial) -> None:
        """Writes it down."""
        self._folder.mkdir(parents=True, exist_ok=True)
        data = TypeAdapter(Trial).dump_json(trial, indent=1)
        write_atomically(self._folder / f"{trial.number:05d}.json", data + b"\n")
        self.trials.append(trial)

    @property
    def next_number(self) -> int:
        """One more than the last."""
        return 1 + max((trial.number for trial in self.trials), default=0)

    def of_hash(self, recipe_hash: str) -> Trial | None:
        """The last trial of this recipe."""
        return next((trial for trial in reversed(self.trials) if trial.hash == recipe_hash), None)


def pareto_front(measured: Sequence[Measurement]) -> list[Measurement]:
    """Those that no other beats or equals in drop, median latency and bytes at once, fastest first."""

    def figures(one: Measurement) -> tuple[float, float, float]:
        return one.quality.drop, one.latency_ms["p50"], float(one.file_bytes)

    def beaten(one: Measurement) -> bool:
        mine = figures(one)
        return any(
            all(a <= b for a, b in zip(figures(other), mine, strict=True)) and figures(other) != mine
            for other in measured
        )

    return sorted((one for one in measured if not beaten(one)), key=lambda one: one.latency_ms["p50"])


def _read(path: Path) -> Trial:
    try:
        return TypeAdapter(Trial).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFileError(f"{path}: cannot be read as a trial. Remove it; its candidate is kept.") from error
