"""Scores of a weight's entries, learned from the gradients that training sends through the masked weight."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

MEMORY = 0.999  # of the gradient's mean square, as Adam's second moment
MOMENTUM = 0.9  # of the gradient, as Adam's first moment
SMOOTH = 0.85  # of the sensitivity
DOUBT = 0.95  # of how far a batch's sensitivity lies from the smooth one
EPSILON = 1e-8
TINY = 1e-16  # beside a weight times a gradient, which is far smaller than a gradient
Importance = Literal["movement", "sensitivity"]
Initial = Literal["magnitude", "zero"]


class Scores(Protocol):
    """One score an entry, the greater the better; every tensor is of the weight's shape, or one number."""

    value: Tensor

    def learn_(self, weight: Tensor, gradient: Tensor) -> None:
        """Takes in one batch: the weight as it would be without the mask, the loss' gradient at the masked one."""

    def state(self) -> tuple[Tensor, ...]:
        """What a checkpoint must hold of it."""

    def to_(self, device: torch.device) -> None:
        """Moves there."""


class _Kept:
    """Tensors by name, all of which are state."""

    def __init__(self, **tensors: Tensor) -> None:
        self._names = tuple(tensors)
        for name, tensor in tensors.items():
            setattr(self, name, tensor)

    def state(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, name) for name in self._names)

    def to_(self, device: torch.device) -> None:
        for name in self._names:
            setattr(self, name, getattr(self, name).to(device))


class GrownMagnitudes(_Kept):
    """Begins at half the weight squared and changes as that would under steps of Adam without momentum."""

    value: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self, weight: Tensor, pace: float) -> None:
        magnitude = 0.5 * weight.float() ** 2
        super().__init__(value=magnitude, square=torch.zeros_like(magnitude), seen=torch.zeros(()))
        self._pace = pace  # the learning rate of these steps

    def learn_(self, weight: Tensor, gradient: Tensor) -> None:
        """See `Scores.learn_`."""
        self.seen += 1
        self.square.lerp_(gradient**2, 1 - MEMORY)
        typical = (self.square / (1 - MEMORY**self.seen)).sqrt()
        self.value -= self._pace * weight * gradient / (typical + EPSILON)


class SignedMovement(_Kept):
    """Begins at zero, whatever the magnitudes, and takes steps of Adam on the paper's gradient of a score, the weight
    times the loss' gradient. Scores are only compared, so their learning rate does not matter.

    Reference: Sanh, Wolf & Rush 2020, arXiv:2005.07683, equation 3.
    """

    value: Tensor
    mean: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self, weight: Tensor) -> None:
        zeros = torch.zeros_like(weight, dtype=torch.float32)
        super().__init__(value=zeros, mean=zeros.clone(), square=zeros.clone(), seen=torch.zeros(()))

    def learn_(self, weight: Tensor, gradient: Tensor) -> None:
        """See `Scores.learn_`."""
        step = weight * gradient
        self.seen += 1
        self.mean.lerp_(step, 1 - MOMENTUM)
        self.square.lerp_(step**2, 1 - MEMORY)
        typical = (self.square / (1 - MEMORY**self.seen)).sqrt()
        self.value -= self.mean / (1 - MOMENTUM**self.seen) / (typical + TINY)


class Sensitivity(_Kept):
    """How much the loss would change without the entry, |weight x gradient|, smoothed over batches, times how much it
    varies: an entry that matters now and then is not given up.

    Reference: Zhang et al. 2022 (PLATON), arXiv:2206.12562.
    """

    value: Tensor
    smooth: Tensor
    doubt: Tensor

    def __init__(self, weight: Tensor) -> None:
        zeros = torch.zeros_like(weight, dtype=torch.float32)
        super().__init__(value=zeros, smooth=zeros.clone(), doubt=zeros.clone())

    def learn_(self, weight: Tensor, gradient: Tensor) -> None:
        """See `Scores.learn_`."""
        now = (weight * gradient).abs_()
        self.smooth.lerp_(now, 1 - SMOOTH)
        self.doubt.lerp_((now - self.smooth).abs_(), 1 - DOUBT)
        torch.mul(self.smooth, self.doubt, out=self.value)


def scores_for(importance: Importance, initial: Initial, weight: Tensor, pace: float) -> Scores:
    """The scores of a weight before its first batch."""
    if importance == "sensitivity":
        return Sensitivity(weight)
    return GrownMagnitudes(weight, pace) if initial == "magnitude" else SignedMovement(weight)
