"""A labelled data set, split once and for all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

Labelled = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Splits:
    """(inputs, targets) for training, for choosing, and for the one last look."""

    train: Labelled
    validation: Labelled
    test: Labelled

    def first(self, num_train: int, num_judged: int) -> Splits:
        """The first examples of each split: `num_train`, and `num_judged` of those that judge."""
        sizes = ((self.train, num_train), (self.validation, num_judged), (self.test, num_judged))
        return Splits(*((inputs[:size], targets[:size]) for (inputs, targets), size in sizes))
