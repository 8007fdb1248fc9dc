"""The size winner without training: each weight rounded to what is worth its bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from paring.errors import SettingError
from paring.numerics.coded_rounding import rate_distortion_round
from paring.share.closed_form import ClosedForm, Priced


@final
@dataclass(frozen=True, kw_only=True)
class RateDistortion(ClosedForm):
    """Rounds with the cost of every bit in view (CERWU, Conzelmann & Bamler 2025, arXiv:2505.18758).

    An integer is chosen for the loss it causes plus `slope` times the bits it codes in, most often zero; the weights
    not yet rounded make up for it. The loss is priced by its curvature at each output, so one `slope` serves all
    layers and decides alone between size and loss. `coarseness` is the step in units of the best fine one: at low rates
    a coarse step with many zeros beats a fine one. For `paring pack`; the ONNX file holds one byte a weight.
    """

    name: ClassVar[str] = "share.rate_distortion"

    coarseness: float = 1.5
    rounds: int = 3  # how often the bits are estimated anew

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coarseness <= 0 or self.rounds < 1:
            raise SettingError(
                f"{self.name}: coarseness {self.coarseness} must be above 0 and rounds {self.rounds} at least 1."
            )

    def rounded(self, problem: Priced) -> tuple[Tensor, Tensor]:
        """See `ClosedForm.rounded`."""
        step = self.coarseness * problem.step(self.slope)
        q_OI = rate_distortion_round(
            problem.weight_OI,
            problem.moment_II,
            step,
            self.slope / problem.curvature,
            problem.importance_O,
            self.rounds,
        )
        return q_OI, torch.tensor(step, dtype=torch.float64)
