"""Training data whose teacher has answered already."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from paring.core.task import Inputs


@dataclass(frozen=True)
class Answers:
    """What the teacher said of one batch: its scored output (b, ...), and what the layers kept gave, each (b, ...)."""

    output: Tensor
    layers: Mapping[str, Tensor] = field(default_factory=dict)


class TaughtBatches(ABC):
    """Batches like any other, that also come with the teacher's answers."""

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[Inputs, Any]]:
        """(inputs, target), in the order of the data."""

    @abstractmethod
    def __len__(self) -> int:
        """How many batches."""

    @abstractmethod
    def lessons(self) -> Iterator[tuple[Inputs, Any, Answers]]:
        """The same batches, drawn as `__iter__` draws them, with the teacher's answers."""

    @abstractmethod
    def check(self, teacher: nn.Module, layers: tuple[str, ...]) -> None:
        """Raises a ParingError if the answers are another teacher's, or lack one of `layers`."""
