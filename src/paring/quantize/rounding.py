"""How weights become integers: to the nearest, or looking at what the layer is fed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from paring.errors import SettingError
from paring.numerics.grid import Grid
from paring.numerics.rounding import damped, descend, learned_round, obs_round


class Rounding(ABC):
    """Chooses integers on a grid. `needs_inputs` says whether the second moment of the inputs is read."""

    needs_inputs: ClassVar[bool] = True

    @abstractmethod
    def integers(self, W_OI: Tensor, H_II: Tensor | None, grid: Grid) -> Tensor:
        """Integers (O, I) int8 for W (O, I) whose inputs have second moment H (I, I)."""


@final
@dataclass(frozen=True)
class Nearest(Rounding):
    """Each weight by itself."""

    needs_inputs: ClassVar[bool] = False

    def integers(self, W_OI: Tensor, H_II: Tensor | None, grid: Grid) -> Tensor:
        """See `Grid.nearest`."""
        return grid.nearest(W_OI)


@final
@dataclass(frozen=True)
class Obs(Rounding):
    """Column by column, each column's error mended by the later ones (GPTQ).

    `sweeps` of coordinate descent may follow.
    """

    damping: float = 0.01
    ordered: bool = True
    sweeps: int = 0

    def __post_init__(self) -> None:
        if self.damping <= 0 or self.sweeps < 0:
            raise SettingError(f"damping {self.damping}, sweeps {self.sweeps}: above 0 and at least 0 are allowed.")

    def integers(self, W_OI: Tensor, H_II: Tensor | None, grid: Grid) -> Tensor:
        """See `obs_round` and `descend`."""
        assert H_II is not None
        q_OI = obs_round(W_OI, H_II, grid, damping=self.damping, ordered=self.ordered)
        return descend(q_OI, W_OI, damped(H_II, self.damping), grid, sweeps=self.sweeps) if self.sweeps else q_OI


@final
@dataclass(frozen=True)
class Learned(Rounding):
    """Up or down as gradient descent on the layer's error decides (AdaRound), then `sweeps` of coordinate descent."""

    steps: int = 500
    regularization: float = 0.01
    sweeps: int = 4

    def __post_init__(self) -> None:
        if self.steps < 1 or self.sweeps < 0 or self.regularization < 0:
            raise SettingError(f"steps {self.steps}, sweeps {self.sweeps}: at least 1 and at least 0 are allowed.")

    def integers(self, W_OI: Tensor, H_II: Tensor | None, grid: Grid) -> Tensor:
        """See `learned_round` and `descend`."""
        assert H_II is not None
        H_II = damped(H_II, 1e-4)
        q_OI = learned_round(W_OI, H_II, grid, steps=self.steps, regularization=self.regularization)
        return descend(q_OI, W_OI, H_II, grid, sweeps=self.sweeps) if self.sweeps else q_OI
