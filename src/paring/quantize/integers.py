"""One float layer into a layer that engines run in integers: stored weight, int32 bias, rounded input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.edit import Edit
from paring.engines import has_vnni
from paring.errors import LayerError
from paring.graph.capture import Sweep, input_moments
from paring.graph.edits.quantize import QuantizeInput, QuantizeWeight
from paring.graph.edits.weight_only import AddBias
from paring.graph.quantized import QuantizedLayer, set_quantizer
from paring.graph.sites import submodule
from paring.numerics.grid import Grid, choose_grid
from paring.numerics.quant import round_bias, round_weight, scale_for_bias, weight_scale
from paring.quantize.rounding import Nearest, Rounding

WeightRange = Literal["auto", "full", "half"]
HALF = 64  # 2 * 255 * 64 = 32640 < 2**15: two products added in 16 bits do not saturate


def largest_integer(num_bits: int, weight_range: WeightRange) -> int:
    """The largest weight integer: 127 for 8 bits, 64 where the range is halved ("auto": where this machine must)."""
    largest: int = 2 ** (num_bits - 1) - 1
    halved = weight_range == "half" or (weight_range == "auto" and not has_vnni())
    return min(largest, HALF) if halved else largest


@dataclass(frozen=True)
class Weights:
    """How weights become integers: `num_bits` each, within -quant_max..quant_max."""

    num_bits: int
    quant_max: int
    per_channel: bool = True
    rounding: Rounding = field(default_factory=Nearest)
    bias_correction: bool = False
    clip: bool = False

    def scale(self, weight: Tensor) -> Tensor:
        """The scale a channel, (O,), that clips no weight; with `clip`, below 8 bits, of least squared error.

        Raises: LayerError for NaN or infinity.
        """
        if not self.clip or self.num_bits == 8 or not weight.numel():
            return weight_scale(weight, self.quant_max, per_channel=self.per_channel)
        rows = weight.flatten(1) if self.per_channel else weight.reshape(1, -1)
        return choose_grid(rows, self.num_bits, clip=True).scale_OG[:, 0].expand(len(weight))

    @property
    def reads_inputs(self) -> bool:
        """Whether a layer's inputs must be seen again, behind the layers done before it."""
        return self.rounding.needs_inputs or self.bias_correction


@dataclass(frozen=True)
class Quantizer:
    """Scale and zero point of 8-bit activations."""

    scale: float
    zero_point: int
    signed: bool = False


def integer_layer(
    model: nn.Module, name: str, weights: Weights, input_quantizer: Quantizer, sweep: Sweep | None, where: str
) -> Iterator[Edit]:
    """Yields the edits that make `name` an integer layer, and puts its numbers in.

    Raises: LayerError naming a layer whose weight holds NaN or infinity.
    """
    layer = submodule(model, name)
    weight, bias = weight_and_bias(layer)
    try:
        scale_O = weights.scale(weight)
    except LayerError as error:
        raise LayerError(f"{where}: {name}: {error}. Load a sound checkpoint.") from error
    scale_O = scale_for_bias(weight, scale_O, bias, input_quantizer.scale)
    q = integers_of(layer, name, weight, scale_O, weights, sweep)
    if weights.bias_correction and sweep is not None:
        rounded = q.to(weight.dtype) * scale_O.reshape(-1, *[1] * (weight.dim() - 1))
        shift_O = output_shift(sweep, name, layer, weight - rounded)
        if bias is None:
            yield AddBias(name)
        bias = shift_O if bias is None else bias + shift_O
        corrected_O = scale_for_bias(weight, scale_O, bias, input_quantizer.scale)
        if not torch.equal(corrected_O, scale_O):  # weights near zero beside the new bias
            scale_O = corrected_O
            q = round_weight(weight, scale_O, -weights.quant_max, weights.quant_max)
    yield QuantizeWeight(name, weights.num_bits, -weights.quant_max, weights.quant_max)
    put_integers(submodule(model, name), q, scale_O, bias, input_quantizer)
    yield QuantizeInput(name, input_quantizer.signed)
    set_quantizer(submodule(model, name), "input", input_quantizer.scale, input_quantizer.zero_point)


def integers_of(
    layer: nn.Module, name: str, weight: Tensor, scale_O: Tensor, weights: Weights, sweep: Sweep | None
) -> Tensor:
    """The integers, int8 with the shape of `weight`. Grouped convolutions are rounded to nearest."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    is_grouped = isinstance(layer, nn.Conv2d) and layer.groups > 1
    if not weights.rounding.needs_inputs or is_grouped or sweep is None:
        return round_weight(weight, scale_O, -weights.quant_max, weights.quant_max)
    moments = input_moments(sweep, name, layer)
    grid = Grid(scale_O[:, None], None, -weights.quant_max, weights.quant_max)
    return weights.rounding.integers(weight.flatten(1), moments.second_II, grid).reshape(weight.shape)


def output_shift(sweep: Sweep, name: str, layer: nn.Module, difference: Tensor) -> Tensor:
    """The mean output of `layer` with `difference` for its weight and no bias, (O,): what rounding took away."""
    total_O, count = torch.zeros(len(difference), dtype=torch.float64), 0

    def add(x: Tensor) -> None:
        nonlocal total_O, count
        if isinstance(layer, nn.Conv2d):
            y = layer._conv_forward(x, difference, None).transpose(0, 1).flatten(1).T
        else:
            y = functional.linear(x, difference).flatten(0, -2)
        total_O += y.double().sum(0)
        count += len(y)

    sweep.inputs(name, add)
    return (total_O / max(count, 1)).to(difference.dtype)


def put_integers(layer: nn.Module, q: Tensor, scale_O: Tensor, bias: Tensor | None, input_quantizer: Quantizer) -> None:
    """Fills a QuantizedLayer; the bias in the int32 steps in which engines add it, so that PyTorch and file agree."""
    assert isinstance(layer, QuantizedLayer)
    if bias is not None:
        step_O = scale_O * input_quantizer.scale
        bias = (round_bias(bias, step_O).double() * step_O.double()).to(bias.dtype)
    layer.set_(q, scale_O, bias)


def weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight (its mask applied) and bias, detached."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    mask = layer._buffers.get("weight_mask")
    weight = layer.weight.detach() if mask is None else layer.weight.detach() * mask
    return weight, None if layer.bias is None else layer.bias.detach()
