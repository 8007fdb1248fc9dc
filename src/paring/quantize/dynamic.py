"""Integer weights, and inputs rounded as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final, get_args

from torch import nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, UnknownNameError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.edits.weight_only import QuantizeDynamic
from paring.graph.folding import folds
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.graph.weight_only import DynamicLinear
from paring.numerics.quant import round_weight, weight_scale
from paring.quantize.integers import WeightRange, largest_integer, weight_and_bias


@final
@dataclass(frozen=True)
class Dynamic(Pass):
    """Linears with int8 weights whose inputs are rounded to uint8 over the range they have at run time.

    Needs no data. ONNX Runtime multiplies in integers; OpenVINO computes the same numbers in floats, and slower.
    `weight_range="half"` keeps weights within -64..64, where x86 kernels without VNNI cannot saturate; "auto" does so
    where this machine needs it. Reference: Jacob et al. 2018, arXiv:1712.05877.
    """

    name: ClassVar[str] = "quantize.dynamic"
    needs: ClassVar[frozenset[str]] = frozenset()
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    weight_range: WeightRange = "auto"

    def __post_init__(self) -> None:
        if self.weight_range not in get_args(WeightRange):
            raise UnknownNameError("weight_range", self.weight_range, get_args(WeightRange), self.name)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Folds batch norms, then stores one Linear after another. Raises LayerError for NaN in a weight."""
        yield from unfuse_all(model)
        quant_max = largest_integer(8, self.weight_range)
        names = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear,))))]
        yield from folds(model, task.example_inputs, names.__contains__)
        for name in names:
            weight, _ = weight_and_bias(submodule(model, name))
            try:
                scale_O = weight_scale(weight, quant_max)
            except LayerError as error:
                raise LayerError(f"{self.name}: {name}: {error}. Load a sound checkpoint.") from error
            yield QuantizeDynamic(name, quant_max)
            layer_now = submodule(model, name)
            assert isinstance(layer_now, DynamicLinear)
            layer_now.set_(round_weight(weight, scale_O, -quant_max, quant_max), scale_O)
