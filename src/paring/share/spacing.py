"""A grid for every input, as fine as its errors weigh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from paring.numerics.coded_rounding import spaced_round
from paring.share.closed_form import ClosedForm, Priced


@final
@dataclass(frozen=True, kw_only=True)
class Spacing(ClosedForm):
    """Even grids whose step differs by input, entropy-coded (WaterSIC, Lifar et al. 2026, arXiv:2603.04956).

    At 2 bits a weight and above within a quarter of a bit of the bound, whatever the inputs' covariance; below,
    `share.rate_distortion` is smaller. `slope` is how much mean loss one bit may cost. For `paring pack`.
    """

    name: ClassVar[str] = "share.spacing"

    @property
    def columns(self) -> bool:
        """Each input has a step of its own."""
        return True

    def rounded(self, problem: Priced) -> tuple[Tensor, Tensor]:
        """See `ClosedForm.rounded`."""
        q_OI, scale_I = spaced_round(problem.weight_OI, problem.moment_II, problem.step(self.slope))
        return q_OI, scale_I
