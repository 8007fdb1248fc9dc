"""A technique with its settings, and a sequence of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from torch import nn

from paring.core.edit import Declined, Step
from paring.core.task import Task
from paring.errors import LayerError, MissingError, OrderError


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One technique with its settings: a frozen dataclass, one file each.

    `include` and `exclude` are shell patterns over module names (`encoder.*`); nothing in `include` means every layer.
    `traits` is what the pass leaves in a model ("integer weights"), `cannot_follow` maps a trait to the reason why
    this pass cannot come after it; `lets_follow` names passes that may come after this one all the same. `needs` names
    the Task fields it uses.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    structural: ClassVar[bool] = True
    traits: ClassVar[frozenset[str]] = frozenset()
    clears: ClassVar[bool] = False
    cannot_follow: ClassVar[Mapping[str, str]] = {}
    lets_follow: ClassVar[frozenset[str]] = frozenset()

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    on_unsupported: Literal["raise", "skip"] = "raise"

    @abstractmethod
    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Works on `model` in place; every structural change is yielded and applied before the next is asked for."""

    def selects(self, layer: str) -> bool:
        """Whether `include` and `exclude` leave this module name in."""
        wanted = not self.include or any(fnmatchcase(layer, pattern) for pattern in self.include)
        return wanted and not any(fnmatchcase(layer, pattern) for pattern in self.exclude)

    def decline(self, layer: str, reason: str, advice: str = "Exclude it") -> Declined:
        """Declined, or LayerError where `include` names the layer outright and nothing may be skipped."""
        if layer in self.include and self.on_unsupported == "raise":
            raise LayerError(f'{self.name}: {layer}: {reason}. {advice}, or set on_unsupported="skip".')
        return Declined(layer, reason)

    def requirements(self) -> frozenset[str]:
        """The Task fields this pass uses with its present settings."""
        return self.needs


@dataclass(frozen=True)
class Recipe:
    """A tuple of passes, run from left to right. `Recipe()` changes nothing: the baseline."""

    passes: tuple[Pass, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        self._check_order()

    def __str__(self) -> str:
        return self.name or " + ".join(step.name for step in self.passes) or "baseline"

    def check(self, task: Task) -> None:
        """Says what the task lacks before any work is done. Raises MissingError."""
        for position, step in enumerate(self.passes, start=1):
            for field in sorted(step.requirements()):
                if getattr(task, field) is None:
                    raise MissingError(
                        f"{self._where} {position}, {step.name}: needs task.{field}, and the task has none. "
                        f"Give Task({field}=...), or take the step out."
                    )

    @property
    def _where(self) -> str:
        return f"recipe {self.name}, step" if self.name else "recipe step"

    def _check_order(self) -> None:
        left: dict[str, tuple[int, Pass]] = {}
        for position, step in enumerate(self.passes, start=1):
            for trait, reason in step.cannot_follow.items():
                if trait in left and step.name not in left[trait][1].lets_follow:
                    earlier, maker = left[trait]
                    raise OrderError(
                        f"{self._where} {position}, {step.name}, cannot follow step {earlier}, {maker.name}: {reason}"
                    )
            if step.clears:
                left.clear()
            left |= dict.fromkeys(step.traits, (position, step))
