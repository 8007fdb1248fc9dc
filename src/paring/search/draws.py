"""A draw from named choices, and one that repeats or scripts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Choices = tuple[Any, ...]


class Draws(Protocol):
    """Gives one of several values by name."""

    def choose(self, name: str, among: Sequence[Any]) -> Any:
        """One of `among`."""


@dataclass
class Recorded:
    """Passes draws on and keeps what was drawn, so that a later run can be told of it."""

    source: Draws
    drawn: dict[str, tuple[Any, Choices]] = field(default_factory=dict)

    def choose(self, name: str, among: Sequence[Any]) -> Any:
        """See `Draws`."""
        chosen = self.source.choose(name, among)
        self.drawn[name] = chosen, tuple(among)
        return chosen


@dataclass(frozen=True)
class Scripted:
    """Draws written down beforehand; the first choice where nothing is."""

    script: Mapping[str, Any]

    def choose(self, name: str, among: Sequence[Any]) -> Any:
        """See `Draws`."""
        wanted = self.script.get(name)
        return wanted if wanted in among else among[0]
