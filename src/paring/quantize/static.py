"""Integer weights and activations whose ranges are fixed ahead, on calibration data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Progress, Step
from paring.core.recipe import Pass
from paring.core.task import Task, call
from paring.engines import has_vnni
from paring.errors import BatchError, ForwardError, LayerError, SettingError, UnknownNameError
from paring.graph.edits.fold import FoldBatchNorm
from paring.graph.edits.quantize import QuantizeInput, QuantizeWeight
from paring.graph.quantized import QuantizedLayer, set_quantizer
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.graph.trace import batch_norm_pairs
from paring.numerics.quant import (
    Range,
    activation_scale,
    observe,
    round_bias,
    round_weight,
    scale_for_bias,
    weight_scale,
)

WeightRange = Literal["auto", "full", "half"]
Placement = Literal["inputs"]
HALF = 64  # 2 * 255 * 64 = 32640 < 2**15: two products added in 16 bits do not saturate


@final
@dataclass(frozen=True)
class Static(Pass):
    """Linear and Conv2d with stored integer weights and calibrated uint8 inputs, batch norms folded.

    Weights are symmetric with one scale a channel, inputs affine with one scale a tensor. `num_bits` (2 to 8) is the
    weights'. `weight_range="half"` keeps 8-bit weights within -64..64, so that x86 kernels without VNNI, which add two
    products in 16 bits, cannot saturate; `"auto"` does so where this machine needs it.
    Reference: Jacob et al. 2018, arXiv:1712.05877.
    """

    name: ClassVar[str] = "quantize.static"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    num_bits: int = 8
    weight_range: WeightRange = "auto"
    placement: Placement = "inputs"

    def __post_init__(self) -> None:
        if isinstance(self.num_bits, bool) or not isinstance(self.num_bits, int) or not 2 <= self.num_bits <= 8:
            raise SettingError(f"{self.name}: num_bits is {self.num_bits}; it must be a whole number from 2 to 8.")
        for kind, allowed in (("weight_range", WeightRange), ("placement", Placement)):
            if getattr(self, kind) not in get_args(allowed):
                raise UnknownNameError(kind, getattr(self, kind), get_args(allowed), self.name)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Folds, calibrates every selected layer on the folded float model, then quantizes layer by layer.

        Raises: BatchError for an empty calibration, ForwardError for NaN in a layer's input, LayerError for NaN in a
        weight, TraceError, NothingToDoError.
        """
        for layer, norm in batch_norm_pairs(model, task.example_inputs):
            if self.selects(layer):
                yield FoldBatchNorm(layer, norm)
        names: list[str] = []
        for target in targets(self, model, (nn.Linear, nn.Conv2d)):
            if isinstance(target, Declined):
                yield target
            else:
                names.append(target[0])
        ranges: dict[str, Range] = {}
        yield from input_ranges(model, names, task, ranges, self.name)
        quant_max = self.quant_max()
        for name in names:
            seen = ranges[name]
            if seen.is_empty:
                yield Declined(name, "no calibration batch reached it")
                continue
            weight, bias = _weight_and_bias(submodule(model, name))
            yield QuantizeWeight(name, self.num_bits, -quant_max, quant_max)
            scale, zero_point = activation_scale(seen)
            _set_weight(submodule(model, name), name, weight, bias, scale)
            yield QuantizeInput(name)
            set_quantizer(submodule(model, name), "input", scale, zero_point)

    def quant_max(self) -> int:
        """The largest weight integer: 127 for 8 bits, 64 where the range is halved, 7 for 4 bits."""
        largest: int = 2 ** (self.num_bits - 1) - 1
        halved = self.weight_range == "half" or (self.weight_range == "auto" and not has_vnni())
        return min(largest, HALF) if halved else largest


@torch.no_grad()
def input_ranges(
    model: nn.Module, names: list[str], task: Task, ranges: dict[str, Range], where: str
) -> Iterator[Progress]:
    """Fills `ranges` with what enters each named layer over the calibration batches; yields how far it is.

    Raises: BatchError for no batches, ForwardError naming the layer whose input holds NaN or infinity.
    """
    assert task.calibration is not None
    ranges.update(dict.fromkeys(names, Range()))
    total = len(task.calibration) if isinstance(task.calibration, Sized) else 0
    was_training = model.training
    count = 0
    with ExitStack() as stack:
        stack.callback(model.train, was_training)
        model.eval()
        for name in names:
            hook = partial(_observe, name, ranges, where)
            handle = submodule(model, name).register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        for count, (inputs, _) in enumerate(task.calibration, start=1):
            call(model, inputs)
            yield Progress(count, max(total, count), "calibrating input ranges")
    if count == 0:
        raise BatchError(f"{where}: task.calibration holds no batch; give at least one.")


def _observe(
    name: str, ranges: dict[str, Range], where: str, _module: nn.Module, args: Any, kwargs: Mapping[str, Any]
) -> None:
    x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    try:
        ranges[name] = ranges[name].merge(observe(x))
    except LayerError as error:
        raise ForwardError(
            f"{where}: {name}: {error} in its input on the calibration data. Clean the data, or check the weights."
        ) from error


def _weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    mask = layer._buffers.get("weight_mask")
    weight = layer.weight.detach() if mask is None else layer.weight.detach() * mask
    return weight, None if layer.bias is None else layer.bias.detach()


def _set_weight(layer: nn.Module, name: str, weight: Tensor, bias: Tensor | None, input_scale: float) -> None:
    assert isinstance(layer, QuantizedLayer)
    try:
        scale_O = weight_scale(weight, layer.quant_max)
    except LayerError as error:
        raise LayerError(f"{Static.name}: {name}: {error}. Load a sound checkpoint.") from error
    scale_O = scale_for_bias(weight, scale_O, bias, input_scale)
    if bias is not None:
        # The engines add the bias to int32 sums of products: in its steps PyTorch and the file agree.
        step_O = scale_O * input_scale
        bias = (round_bias(bias, step_O).double() * step_O.double()).to(bias.dtype)
    layer.set_(round_weight(weight, scale_O, layer.quant_min, layer.quant_max), scale_O, bias)
