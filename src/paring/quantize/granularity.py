"""How many weights share a scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from paring.errors import SettingError


class Granularity(ABC):
    """How many inputs of an output channel share one scale."""

    @abstractmethod
    def size(self) -> int | None:
        """Inputs a group, None for all of them."""


@final
@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale an output channel."""

    def size(self) -> int | None:
        """None: all inputs."""
        return None


@final
@dataclass(frozen=True)
class PerGroup(Granularity):
    """One scale every `group_size` inputs: closer, and 16 or 32 bits more a group."""

    group_size: int = 64

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise SettingError(f"per_group: group_size is {self.group_size}; it must be at least 2.")

    def size(self) -> int | None:
        """`group_size`."""
        return self.group_size
