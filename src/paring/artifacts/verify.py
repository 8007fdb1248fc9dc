"""Does the file compute what the model computes?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from paring.core.task import Task
from paring.engines.protocol import Session
from paring.errors import ParityError
from paring.graph.quantized import rounds_activations
from paring.measure.quality import file_inputs

FLOAT_TOLERANCE = 1e-4  # rounding of fp32 sums in another order
QUANTIZED_TOLERANCE = 2e-2  # a few activations on a rounding border that fall to the other side, in so many layers:
FEW_LAYERS = 16
NUM_BATCHES = 2


def check_parity(
    session: Session, model: nn.Module, task: Task, *, where: str = "the file", num_batches: int = NUM_BATCHES
) -> float:
    """The worst `relative_error` of the file against `model` over the first batches of `task.real_inputs()`.

    The tolerance is that of `tolerance_of(model)`. Open the session with `exact=True`.
    Raises: ParityError with the figures in one line.
    """
    expected, got = [], []
    was_training = model.training
    model.eval()
    try:
        for inputs, _ in islice(iter(task.real_inputs()), num_batches):
            with torch.no_grad():
                expected.append(task.predict(model, inputs).numpy())
            got.append(session.run(file_inputs(session, inputs))[0])
    finally:
        model.train(was_training)
    return compare(got, expected, tolerance_of(model), where)


def compare(
    session_outputs: Sequence[NDArray[np.generic]],
    torch_outputs: Sequence[NDArray[np.generic]],
    tolerance: float,
    where: str = "the file",
) -> float:
    """The worst `relative_error` over pairs of outputs. Raises ParityError above `tolerance`, or for other shapes."""
    worst = 0.0
    for number, (got, expected) in enumerate(zip(session_outputs, torch_outputs, strict=True), start=1):
        if got.shape != expected.shape:
            raise ParityError(f"{where}: batch {number}: it answers {got.shape}, and the model {expected.shape}.")
        error = relative_error(got, expected)
        if not error <= tolerance:
            largest = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max())
            raise ParityError(
                f"{where}: batch {number}: its outputs differ from the model's by {error:.2g} relative (root mean "
                f"square; {tolerance:.2g} allowed), by at most {largest:.3g}."
            )
        worst = max(worst, error)
    return worst


def relative_error(got: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """Root mean square of the difference over that of `expected`; of the difference alone where that is zero."""
    expected_64 = expected.astype(np.float64)
    error = float(np.sqrt(np.mean((got.astype(np.float64) - expected_64) ** 2))) if got.size else 0.0
    size = float(np.sqrt(np.mean(expected_64**2))) if got.size else 0.0
    return error / size if size > 0 else error


def tolerance_of(model: nn.Module) -> float:
    """What `check_parity` allows: more where activations are rounded, and more in deep nets.

    What falls to the other side of a border does so in each layer on its own, so that the error grows with the square
    root of their number: 0.02 up to 16 layers that round, 0.043 for the 74 of a RoBERTa-base.
    """
    num_rounding = sum(rounds_activations(module) for module in model.modules())
    if num_rounding == 0:
        return FLOAT_TOLERANCE
    return QUANTIZED_TOLERANCE * math.sqrt(max(1.0, num_rounding / FEW_LAYERS))
