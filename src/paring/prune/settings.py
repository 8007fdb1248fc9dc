"""Settings that the unstructured methods share, and the values of `schedule`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, final

from torch import nn

from paring.core.edit import Progress
from paring.core.objective import Objective, Supervised
from paring.core.task import Task
from paring.errors import SettingError
from paring.numerics.importance import NM, cubic
from paring.train import Carried, Schedule, Training, count, fit

SetSparsity = Callable[[float], None]


def check_sparsity(name: str, sparsity: float, pattern: NM | None, default: float) -> None:
    """Raises SettingError for a sparsity outside (0, 1), or one that contradicts the pattern."""
    if not 0 < sparsity < 1:
        raise SettingError(f"{name}: sparsity is {sparsity}; it must lie between 0 and 1, both excluded.")
    if pattern is not None and sparsity not in (default, pattern.sparsity):
        raise SettingError(
            f"{name}: sparsity is {sparsity}, and the pattern {pattern.n}:{pattern.m} means {pattern.sparsity:g}. "
            "Leave one of them out."
        )


class SparsitySchedule(ABC):
    """When the zeros come: all at once, or while the model trains."""

    @abstractmethod
    def needs(self) -> frozenset[str]:
        """The Task fields it uses."""

    @abstractmethod
    def run(
        self, model: nn.Module, task: Task, final: float, put: SetSparsity, key: str, carried: Carried = tuple
    ) -> Iterator[Progress]:
        """Calls `put(sparsity)` until it has been called with `final`.

        Args: key: says which pass this is; carried: the tensors it learns beside the model, for checkpoints.
        """


@final
@dataclass(frozen=True)
class OneShot(SparsitySchedule):
    """All zeros at once, without training."""

    def needs(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def run(
        self, model: nn.Module, task: Task, final: float, put: SetSparsity, key: str, carried: Carried = tuple
    ) -> Iterator[Progress]:
        """See `SparsitySchedule`."""
        put(final)
        yield from ()


@final
@dataclass(frozen=True)
class Cubic(SparsitySchedule):
    """Zeros come while the model trains, many at first and few at the end (Zhu & Gupta 2017, arXiv:1710.01878).

    The sparsity rises between the shares `begin` and `end` of all steps, every `interval` steps; then the masks hold
    and the rest of the training recovers. `objective` may be any, so recovery may be distilled. Killed and started
    again in the same run folder, the training goes on from its last checkpoint, to the same weights.
    """

    epochs: int = 3
    learning_rate: float = 1e-3
    objective: Objective = field(default_factory=Supervised)
    begin: float = 0.0
    end: float = 0.7
    interval: int = 16
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        self.training()
        if not 0 <= self.begin < self.end <= 1:
            raise SettingError(f"cubic: begin is {self.begin} and end {self.end}; they must rise within [0, 1].")
        if self.interval < 1:
            raise SettingError(f"cubic: interval is {self.interval}; it must be a whole number of at least 1.")

    def needs(self) -> frozenset[str]:
        """Training data, and what the objective asks for."""
        return frozenset({"train"}) | self.objective.requirements()

    def training(self) -> Training:
        """The loop's own settings. Raises SettingError."""
        return Training(
            self.epochs, self.learning_rate, self.weight_decay, self.schedule, self.warmup, self.gradient_clip,
            self.precision,
        )  # fmt: skip

    def run(
        self, model: nn.Module, task: Task, final: float, put: SetSparsity, key: str, carried: Carried = tuple
    ) -> Iterator[Progress]:
        """See `SparsitySchedule`. Raises MissingError without training data."""
        assert task.train is not None
        total = self.epochs * count(task.train)
        first, last = int(self.begin * total), max(int(self.begin * total) + 1, int(self.end * total))
        training = self.training()
        for progress in fit(model, task, self.objective, training, resumable=True, key=key, carried=carried):
            step = progress.done
            if not progress.again and first < step <= last and ((step - first) % self.interval == 0 or step == last):
                put(cubic((step - first) / (last - first), final))
            yield progress
