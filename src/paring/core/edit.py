"""One structural change as plain data, and what else a pass may report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import nn

from paring.errors import CorruptFileError, UnknownNameError

if TYPE_CHECKING:
    from paring.core.task import Task

T = TypeVar("T")


class Edit(ABC):
    """One structural change: a frozen dataclass of names and integers, never of weights.

    `apply` works on real weights and on the `meta` device alike; numbers belong to the state dict.
    """

    kinds: ClassVar[dict[str, type[Edit]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Edit.kinds[cls.__name__] = cls

    @abstractmethod
    def apply(self, model: nn.Module) -> nn.Module:
        """Changes `model` in place and returns the root module (another one only for `UseStudent`)."""

    def apply_for(self, model: nn.Module, task: Task) -> nn.Module:
        """`apply`, for an edit that needs no more than the model; `UseStudent` takes its factory from the task."""
        return self.apply(model)

    def to_json(self) -> dict[str, Any]:
        """`{"edit": "Factorize", "layer": "fc1", "rank": 24}`."""
        assert is_dataclass(self)
        return {"edit": type(self).__name__} | {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Edit:
        """The edit that `to_json` wrote. Raises UnknownNameError or CorruptFileError."""
        settings = dict(data)
        name = settings.pop("edit", None)
        if name not in Edit.kinds:
            raise UnknownNameError("edit", name, Edit.kinds, "edits.json")
        try:
            return TypeAdapter(Edit.kinds[name]).validate_python(settings)
        except (ValidationError, TypeError) as error:
            raise CorruptFileError(f"edits.json: {name} does not fit {settings}: {error}".splitlines()[0]) from error


@dataclass(frozen=True)
class Declined:
    """A targeted layer that a pass leaves as it is, and why. The report lists these."""

    layer: str
    reason: str


def accepted(found: Iterable[T | Declined]) -> Generator[Declined, None, list[T]]:
    """Yields what was declined and returns the rest, in order: `sites = yield from accepted(...)`."""
    rest: list[T] = []
    for one in found:
        if isinstance(one, Declined):
            yield one
        else:
            rest.append(one)
    return rest


@dataclass(frozen=True)
class Changed:
    """Numbers of these layers changed in place; the structure did not."""

    layers: tuple[str, ...]


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training as it ended: mean loss over its batches, the metric on validation (None: no labels).

    `step` is the pass that trained.
    """

    epoch: int
    loss: float
    metric: float | None = None
    step: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a long step is: `done` of `total` units, with a few words on what, and the epoch that just ended.

    `again` marks what a killed run did before and this one takes up.
    """

    done: int
    total: int
    text: str
    epoch: Epoch | None = None
    again: bool = False


Step = Edit | Declined | Changed | Progress
