"""What the passes without training share: integers layer by layer, each behind those done, priced in the loss."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError
from paring.graph.capture import Sweep, input_moments
from paring.graph.curvature import output_curvature
from paring.graph.edits.share import ShareWeight, Steps, shared_layer
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.folding import folds
from paring.graph.shared import EvenGrid
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.numerics.cholesky import inverse_root_diagonal
from paring.numerics.rounding import damped

LARGEST, CODED = 127, 120  # the largest integer, and the largest that a weight itself may come to
LARGEST_INPUT = 8192  # a wider layer's second moment alone would be half a gigabyte
SMALLEST = 1e-12
FINE = math.sqrt(6 / math.log(2))  # of the step at which the last bit is worth its price, for fine grids


@dataclass(frozen=True)
class Priced:
    """A layer's problem: weight (O, I) and damped second moment (I, I) of its inputs.

    A squared error of an output costs `curvature` of the mean loss, times `importance_O` (O,), 1 on average.
    """

    weight_OI: Tensor
    moment_II: Tensor
    curvature: float
    importance_O: Tensor

    def step(self, slope: float) -> float:
        """The even step at which, on a fine grid, one more bit would save less than `slope` of the loss a weight."""
        errors_I = inverse_root_diagonal(self.moment_II)
        alive = self.moment_II.diagonal() > 2 * self.moment_II.diagonal().min()
        chosen = errors_I[alive] if bool(alive.any()) else errors_I
        step = FINE * math.sqrt(slope / self.curvature) * float(chosen.log().mean().exp())
        return max(step, float(self.weight_OI.abs().max()) / CODED, SMALLEST)


@dataclass(frozen=True, kw_only=True)
class ClosedForm(Pass):
    """Weights and biases of Linear and Conv2d on even grids, for the coded file; activations stay floats.

    `slope` is the price: how much mean loss one bit of the file may cost. Batch norms are folded first; each layer is
    rounded on what the layers before it, rounded already, hand to it, and its bias makes up for the mean error.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    slope: float = 1e-9  # mean loss a bit; a confident net bears little more
    damping: float = 0.01  # fraction of mean(diag(H)) added to the diagonal
    share_bias: bool = True

    def __post_init__(self) -> None:
        if self.slope <= 0 or self.damping <= 0:
            raise SettingError(f"{self.name}: slope {self.slope} and damping {self.damping} must be above 0.")

    @property
    def columns(self) -> bool:
        """Whether each input has a step of its own."""
        return False

    @abstractmethod
    def rounded(self, problem: Priced) -> tuple[Tensor, Tensor]:
        """(integers (O, I) int8, their step () or (I,))."""

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See the class. Raises BatchError without a batch, ForwardError or LayerError for NaN."""
        assert task.calibration is not None
        yield from unfuse_all(model)
        yield from folds(model, task.example_inputs, self.selects)
        names = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear, nn.Conv2d))))]
        sweep = Sweep(model, task.calibration, self.name)
        for name in names:
            if not torch.isfinite(submodule(model, name).get_parameter("weight")).all():
                raise LayerError(f"{self.name}: {name}: the weight holds NaN or infinity. Load a sound checkpoint.")
        reached = [name for name in sweep.order(names) if sweep.reaches(name)]
        for name in names:
            if name not in reached:
                yield Declined(name, "no calibration batch reached it")
        curvatures = output_curvature(model, reached, task, self.name) if reached else {}
        for count, name in enumerate(reached, start=1):
            yield Progress(count, len(reached), f"rounding {name}")
            yield from self._layer(model, name, sweep, curvatures[name])

    def _layer(self, model: nn.Module, name: str, sweep: Sweep, curvature_O: Tensor) -> Iterator[Step]:
        layer = submodule(model, name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        W_OI = layer.weight.detach().double().flatten(1).cpu()
        if W_OI.shape[1] > LARGEST_INPUT or (isinstance(layer, nn.Conv2d) and layer.groups > 1):
            H_II, mean_I = torch.eye(W_OI.shape[1], dtype=torch.float64), torch.zeros(W_OI.shape[1]).double()
        else:
            moments = input_moments(sweep, name, layer)
            H_II, mean_I = damped(moments.second_II, self.damping), moments.mean_I
        mean = float(curvature_O.mean())
        importance_O = curvature_O / mean if mean > 0 else torch.ones_like(curvature_O)
        problem = Priced(W_OI, H_II, max(mean / 2, SMALLEST), importance_O)
        q_OI, step = self.rounded(problem)
        form = Steps(columns=self.columns)
        has_bias = layer.bias is not None and self.share_bias
        bias = None if layer.bias is None else layer.bias.detach().double().cpu()
        yield ShareWeight(name, form, Steps() if has_bias else None)
        new = shared_layer(model, name)
        assert isinstance(new.shared, EvenGrid)
        new.shared.set_(q_OI.reshape(new.shared.codes.shape), _shaped(step, new.shared.scale))
        if bias is not None:
            bias = bias + (W_OI - q_OI.double() * step) @ mean_I
            self._put_bias(new, bias, problem.curvature)

    def _put_bias(self, layer: nn.Module, bias_O: Tensor, curvature: float) -> None:
        grid = getattr(layer, "shared_bias", None)
        with torch.no_grad():
            if isinstance(grid, EvenGrid):
                step = max(FINE * math.sqrt(self.slope / curvature), float(bias_O.abs().max()) / LARGEST, 1e-12)
                grid.set_(torch.round(bias_O / step), step)
            else:
                layer.get_parameter("own_bias").copy_(bias_O)


def _shaped(step: Tensor, like: Tensor) -> Tensor:
    return step.reshape(like.shape) if step.numel() > 1 else step.reshape(())
