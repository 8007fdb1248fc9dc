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
