"""Where a long training leaves what it would lose when it is killed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paring.errors import SettingError


@dataclass(frozen=True)
class Scratch:
    """A folder for checkpoints, one written every `every_s` seconds; 0 means after every step.

    A training that finds its own checkpoint there goes on from it, to the weights the uninterrupted run has.
    """

    folder: Path
    every_s: float = 300.0

    def __post_init__(self) -> None:
        if self.every_s < 0:
            raise SettingError(f"Scratch: every_s is {self.every_s}; it must be at least 0.")
