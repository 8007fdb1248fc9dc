"""The nets of the size benchmark: those of `paring study size`."""

from __future__ import annotations

from paring import Task
from paring.core.stream import drain
from paring.studies.lenets import lenet5 as lenet5_steps
from paring.studies.lenets import lenet300 as lenet300_steps


def lenet300(seed: int = 0) -> Task:
    """LeNet-300-100, trained here with weight decay; 20 epochs, cached."""
    return drain(lenet300_steps(seed=seed))


def lenet5(seed: int = 0) -> Task:
    """LeNet-5 with its trained weights."""
    return drain(lenet5_steps(seed=seed))
