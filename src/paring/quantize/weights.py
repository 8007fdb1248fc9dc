"""What weight-only passes share: a weight of few bits on a grid, by some way of rounding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from paring.core.edit import Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError, ShapeError
from paring.graph.capture import Sweep, input_moments
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.edits.weight_only import AddBias, QuantizeBlocks
from paring.graph.folding import folds
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.graph.weight_only import WeightOnlyLayer
from paring.numerics.grid import Grid, choose_grid
from paring.quantize.granularity import Granularity, PerChannel
from paring.quantize.integers import output_shift, weight_and_bias
from paring.quantize.rounding import Nearest, Rounding

LARGEST_INPUT = 8192  # a wider layer's second moment alone would be half a gigabyte


@dataclass(frozen=True, kw_only=True)
class WeightPass(Pass):
    """Weights of Linear and Conv2d in `num_bits`, activations in floats; batch norms folded. See its subclasses."""

    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    num_bits: int = 4
    granularity: Granularity = field(default_factory=PerChannel)
    symmetric: bool = True
    clip: bool = True
    bias_correction: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.num_bits, bool) or not isinstance(self.num_bits, int) or self.num_bits not in (2, 3, 4, 8):
            raise SettingError(f"{self.name}: num_bits is {self.num_bits}; it must be 2, 3, 4 or 8.")
        self.rounding()

    @abstractmethod
    def rounding(self) -> Rounding:
        """How integers are chosen. Raises SettingError."""

    def requirements(self) -> frozenset[str]:
        """Calibration data where the layers' inputs are read."""
        return frozenset({"calibration"}) if self.rounding().needs_inputs or self.bias_correction else frozenset()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Folds batch norms, then rounds layer by layer in the order of the forward, each behind those done before.

        Raises: ShapeError for groups that do not divide a layer named outright (others are declined), LayerError for
            NaN in a weight, BatchError for an empty calibration, ForwardError for NaN in a layer's input.
        """
        yield from unfuse_all(model)
        yield from folds(model, task.example_inputs, self.selects)
        names = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear, nn.Conv2d))))]
        sweep = None
        if self.requirements():
            assert task.calibration is not None
            sweep = Sweep(model, task.calibration, self.name)
            names = sweep.order(names)
        for count, name in enumerate(names, start=1):
            if sweep is not None and not sweep.reaches(name):
                yield Declined(name, "no calibration batch reached it")
                continue
            yield Progress(count, len(names), f"rounding {name}")
            yield from self.rounded(model, name, sweep)

    def rounded(self, model: nn.Module, name: str, sweep: Sweep | None) -> Iterator[Step]:
        """Rounds one layer."""
        layer = submodule(model, name)
        weight, bias = weight_and_bias(layer)
        try:
            grid, q_OI = self._chosen(layer, name, weight.flatten(1), sweep)
        except ShapeError as error:
            message = f"{self.name}: {name}: {error}."
            if name in self.include and self.on_unsupported == "raise":
                raise ShapeError(message) from error
            yield Declined(name, f"{error}")
            return
        except LayerError as error:
            raise LayerError(f"{self.name}: {name}: {error}. Load a sound checkpoint.") from error
        if self.bias_correction and sweep is not None:
            shift_O = output_shift(sweep, name, layer, weight - grid.values(q_OI).reshape(weight.shape))
            if bias is None:
                yield AddBias(name)
            bias = shift_O if bias is None else bias + shift_O
        yield QuantizeBlocks(name, self.num_bits, self.granularity.size(), self.symmetric)
        stored = submodule(model, name)
        assert isinstance(stored, WeightOnlyLayer)
        stored.set_(q_OI, grid, bias)

    def _chosen(self, layer: nn.Module, name: str, W_OI: Tensor, sweep: Sweep | None) -> tuple[Grid, Tensor]:
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        rounding, H_II = self.rounding(), None
        if (isinstance(layer, nn.Conv2d) and layer.groups > 1) or W_OI.shape[1] > LARGEST_INPUT:
            rounding = Nearest()
        if rounding.needs_inputs and sweep is not None:
            H_II = input_moments(sweep, name, layer).second_II
        clip = self.clip and self.num_bits < 8
        diagonal_I = None if H_II is None else H_II.diagonal()
        grid = choose_grid(
            W_OI,
            self.num_bits,
            group_size=self.granularity.size(),
            symmetric=self.symmetric,
            clip=clip,
            importance_I=diagonal_I,
        )
        return grid, rounding.integers(W_OI, H_II, grid)
