"""What passes that train under rounding share: fake quantizers in, training, stored integers out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Edit, Step, accepted
from paring.core.objective import Objective, Supervised
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.graph.edits.fake import FakeQuantize, Freeze
from paring.graph.edits.quantize import QuantizeInput
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.fake import FakeQuantizedLayer, Scheme, step_of
from paring.graph.folding import folds
from paring.graph.quantized import QuantizedLayer, set_quantizer
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.graph.weight_only import WeightOnlyLayer
from paring.numerics.grid import Grid
from paring.numerics.quant import TINY, Range, activation_scale, scale_for_bias
from paring.quantize.calibrate import Ranges, Site, calibrated
from paring.quantize.integers import Quantizer, Weights, put_integers
from paring.quantize.observers import Observer
from paring.train import Schedule, Training, fit


@dataclass(frozen=True, kw_only=True)
class TrainingPass(Pass):
    """Trains with rounded weights (and inputs), from any objective; batch norms are folded first, hence frozen."""

    needs: ClassVar[frozenset[str]] = frozenset({"train"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    epochs: int = 1
    learning_rate: float = 1e-3
    objective: Objective = field(default_factory=Supervised)
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        self.training()

    def training(self) -> Training:
        """The loop's own settings. Raises SettingError."""
        return Training(
            self.epochs,
            self.learning_rate,
            self.weight_decay,
            self.schedule,
            self.warmup,
            self.gradient_clip,
            self.precision,
        )

    def requirements(self) -> frozenset[str]:
        """Training data, and what the objective asks for."""
        return self.needs | self.objective.requirements()

    def trained(
        self, model: nn.Module, task: Task, *, scheme: Scheme, num_bits: int, quant_max: int, observer: Observer | None
    ) -> Iterator[Step]:
        """Folds, trains under `scheme`, stores. With an `observer` inputs are rounded too, to uint8.

        The weights start from the clipping steps of least squared error, the inputs from what calibration shows.
        Raises: what calibration and training raise.
        """
        yield from unfuse_all(model)
        yield from folds(model, task.example_inputs, self.selects)
        names = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear, nn.Conv2d))))]
        ranges: Ranges = {}
        if observer is not None:
            ranges = yield from calibrated(model, [Site(name) for name in names], task, observer, self.name)
            for name in [name for name in names if ranges[Site(name)].is_empty]:
                yield Declined(name, "no calibration batch reached it")
                names.remove(name)
        for name in names:
            yield FakeQuantize(name, scheme, quant_max, observer is not None)
            start(fake_layer(model, name), num_bits, quant_max, ranges.get(Site(name)))
        yield from fit(model, task, self.objective, self.training(), resumable=True)
        for name in names:
            yield from stored(model, name, num_bits)


@torch.no_grad()
def start(layer: FakeQuantizedLayer, num_bits: int, quant_max: int, seen: Range | None) -> None:
    """Puts the first steps in."""
    layer.weight_log_step.copy_(first_step(layer.latent, num_bits, quant_max).clamp_min(TINY).log())
    if layer.input_log_step is not None and seen is not None:
        scale, zero_point = activation_scale(seen)
        layer.input_log_step.fill_(math.log(scale))
        layer.input_zero_point.fill_(zero_point)


def first_step(weight: Tensor, num_bits: int, quant_max: int) -> Tensor:
    """Where learned steps start, (O,): where rounding alone errs least, clipped below 8 bits."""
    return Weights(num_bits, quant_max, clip=True).scale(weight)


@torch.no_grad()
def stored(model: nn.Module, name: str, num_bits: int) -> Iterator[Edit]:
    """Turns a trained layer into stored integers."""
    layer = fake_layer(model, name)
    q, scale_O = (part.detach() for part in layer.integers())
    own = layer._parameters["bias"]
    bias = None if own is None else own.detach()
    log_step = layer.input_log_step
    yield Freeze(name, num_bits)
    new = submodule(model, name)
    if isinstance(new, WeightOnlyLayer):
        grid = Grid(scale_O[:, None], None, -layer.quant_max, layer.quant_max)
        new.set_(q.flatten(1).to(torch.int8), grid, bias)
        return
    assert isinstance(new, QuantizedLayer) and log_step is not None
    quantizer = Quantizer(float(step_of(log_step.detach())), int(layer.input_zero_point))
    fitting_O = scale_for_bias(q, scale_O, bias, quantizer.scale)
    put_integers(new, q.to(torch.int8), fitting_O, bias, quantizer)
    yield QuantizeInput(name)
    set_quantizer(new, "input", quantizer.scale, quantizer.zero_point)


def fake_layer(model: nn.Module, name: str) -> FakeQuantizedLayer:
    """The layer under FakeQuantize."""
    layer = submodule(model, name)
    assert isinstance(layer, FakeQuantizedLayer)
    return layer
