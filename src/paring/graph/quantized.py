"""Modules and hooks that compute in the quantized dialect: `quantized_decomposed` ops around ordinary ones.

Scales live in buffers, so that they travel with the state; `freeze_quantizers` turns them into the Python constants
that the exporter can convert.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.errors import LayerError
from paring.graph.shared import SharedLayer
from paring.graph.weight_only import DynamicLinear, WeightOnlyLayer
from paring.numerics.quant import INT32_MAX, round_bias

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the dialect, nothing else

Q: Any = torch.ops.quantized_decomposed
Side = Literal["input", "output"]
SIDES: tuple[Side, Side] = ("input", "output")
OPERAND_SCALE, OPERAND_ZERO_POINT = "operand_scale", "operand_zero_point"
UINT8 = (0, 255, torch.uint8)
INT8 = (-128, 127, torch.int8)
INT32 = (-INT32_MAX - 1, INT32_MAX, torch.int32)


class QuantizedLayer(nn.Module):
    """A layer whose weight is stored as integers with one scale an output channel.

    `weight_q` int8 with the shape of the float weight, `weight_scale` (out,), `bias` (out,) or None. Each number is
    an integer in quant_min..quant_max of `num_bits`.
    """

    weight_q: Tensor
    weight_scale: Tensor
    bias: Tensor | None
    weight_zero_point: Tensor | None
    bias_q: Tensor | None
    bias_scale: Tensor | None

    def __init__(self, layer: nn.Linear | nn.Conv2d, num_bits: int, quant_min: int, quant_max: int) -> None:
        super().__init__()
        self.num_bits, self.quant_min, self.quant_max = num_bits, quant_min, quant_max
        weight = layer.weight
        self.register_buffer("weight_q", torch.zeros_like(weight, dtype=torch.int8, requires_grad=False))
        self.register_buffer("weight_scale", torch.ones_like(weight.detach().flatten(1)[:, 0]).contiguous())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.register_buffer("weight_zero_point", None)
        self.register_buffer("bias_q", None)
        self.register_buffer("bias_scale", None)
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The weight that the integers stand for, float."""
        limits = (self.quant_min, self.quant_max, torch.int8)
        return cast(
            Tensor, Q.dequantize_per_channel(self.weight_q, self.weight_scale, self.weight_zero_point, 0, *limits)
        )

    @torch.no_grad()
    def set_(self, weight_q: Tensor, weight_scale: Tensor, bias: Tensor | None) -> None:
        """Puts numbers in: weight_q int8 within quant_min..quant_max, weight_scale (out,), bias (out,) or None."""
        assert self.quant_min <= int(weight_q.min()) <= int(weight_q.max()) <= self.quant_max
        self.weight_q.copy_(weight_q)
        self.weight_scale.copy_(weight_scale)
        if self.bias is not None and bias is not None:
            self.bias.copy_(bias)

    def freeze(self) -> None:
        """Adds what only a file needs: ONNX Runtime makes no integer Gemm without zero points and an int32 bias."""
        self.weight_zero_point = torch.zeros_like(self.weight_scale, dtype=torch.int8)
        if self.bias is not None and "input_scale" in self._buffers:
            step = self.get_buffer("input_scale") * self.weight_scale
            if bool((self.bias.abs().double() < step.double() * INT32_MAX).all()):
                self.bias_q, self.bias_scale = round_bias(self.bias, step), step

    def integer_bias(self) -> Tensor | None:
        """The bias, from int32 where `freeze` made one."""
        if self.bias_q is None:
            return self.bias
        return cast(Tensor, Q.dequantize_per_channel(self.bias_q, self.bias_scale, None, 0, *INT32))

    def extra_repr(self) -> str:
        return f"{', '.join(map(str, self.weight_q.shape))}, num_bits={self.num_bits}, bias={self.bias is not None}"


@final
class QuantizedLinear(QuantizedLayer):
    """`nn.Linear` with a stored integer weight."""

    def __init__(self, layer: nn.Linear, num_bits: int, quant_min: int, quant_max: int) -> None:
        super().__init__(layer, num_bits, quant_min, quant_max)
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        # Above 2-D the exporter writes MatMul and Add, and ONNX Runtime fuses the float bias instead.
        return functional.linear(x, self.weight, self.integer_bias() if x.dim() == 2 else self.bias)


@final
class QuantizedConv2d(QuantizedLayer):
    """`nn.Conv2d` with a stored integer weight."""

    def __init__(self, layer: nn.Conv2d, num_bits: int, quant_min: int, quant_max: int) -> None:
        super().__init__(layer, num_bits, quant_min, quant_max)
        self.in_channels, self.out_channels, self.kernel_size = layer.in_channels, layer.out_channels, layer.kernel_size
        self.groups, self.padding_mode = layer.groups, layer.padding_mode
        self.stride: Any = layer.stride
        self.padding: Any = layer.padding
        self.dilation: Any = layer.dilation
        self.border = tuple(layer._reversed_padding_repeated_twice)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = functional.pad(x, self.border, mode=self.padding_mode), 0
        bias = self.integer_bias()
        return functional.conv2d(
            x, self.weight, bias, cast(Any, self.stride), padding, cast(Any, self.dilation), self.groups
        )


def attach_quantizer(module: nn.Module, side: Side, device: torch.device, *, signed: bool = False) -> None:
    """Makes `module` round its first float input, or its output, to uint8 (int8 if `signed`) and back.

    Buffers and a hook of its own rather than a child module: an `nn.Sequential` would run a child.
    """
    if f"{side}_scale" in module._buffers:
        raise LayerError(f"its {side} is quantized already")
    module.register_buffer(f"{side}_scale", torch.ones((), device=device))
    module.register_buffer(f"{side}_zero_point", torch.zeros((), dtype=torch.int64, device=device))
    setattr(module, f"{side}_signed", signed)
    if side == "input":
        module.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    else:
        module.register_forward_hook(_quantize_output)


def has_quantizer(module: nn.Module) -> bool:
    """Whether the input, the output or an operand of `module` is quantized."""
    return any(name in module._buffers for name in ("input_scale", "output_scale", OPERAND_SCALE))


def rounds_activations(module: nn.Module) -> bool:
    """Whether `module` rounds numbers that depend on the input: by a quantizer, or as they come."""
    return has_quantizer(module) or isinstance(module, DynamicLinear)


def set_quantizer(module: nn.Module, side: Side, scale: float, zero_point: int) -> None:
    """Puts the numbers of an attached quantizer in."""
    module.get_buffer(f"{side}_scale").fill_(scale)
    module.get_buffer(f"{side}_zero_point").fill_(zero_point)


def freeze_quantizers(model: nn.Module) -> None:
    """Turns scales into Python constants and biases behind a quantized input into int32; for the copy to be exported.

    In place, and the end of it: a frozen model has another state than its edits say.
    """
    for module in model.modules():
        if isinstance(module, QuantizedLayer | WeightOnlyLayer | DynamicLinear | SharedLayer):
            module.freeze()
        if OPERAND_SCALE in module._buffers:
            for name in (OPERAND_SCALE, OPERAND_ZERO_POINT):
                numbers = module.get_buffer(name).tolist()
                delattr(module, name)
                setattr(module, name, numbers)
        for side in SIDES:
            if f"{side}_scale" in module._buffers:
                scale, zero_point = module.get_buffer(f"{side}_scale"), module.get_buffer(f"{side}_zero_point")
                delattr(module, f"{side}_scale")
                delattr(module, f"{side}_zero_point")
                setattr(module, f"{side}_scale", float(scale))
                setattr(module, f"{side}_zero_point", int(zero_point))


def _quantize_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    position = _first_float(args)
    if position is not None:
        return (*args[:position], _round_trip(module, "input", args[position]), *args[position + 1 :]), kwargs
    names = list(kwargs)
    position = _first_float(tuple(kwargs.values()))
    if position is not None:
        kwargs = kwargs | {names[position]: _round_trip(module, "input", kwargs[names[position]])}
    return args, kwargs


def _quantize_output(module: nn.Module, _args: Any, answer: Any) -> Any:
    if isinstance(answer, tuple):
        position = _first_float(answer)
        if position is None:
            return answer
        return (*answer[:position], _round_trip(module, "output", answer[position]), *answer[position + 1 :])
    return _round_trip(module, "output", answer)


def _first_float(values: tuple[Any, ...]) -> int | None:
    floats = (i for i, value in enumerate(values) if isinstance(value, Tensor) and value.is_floating_point())
    return next(floats, None)


def _round_trip(module: nn.Module, side: Side, x: Tensor) -> Tensor:
    scale, zero_point = getattr(module, f"{side}_scale"), getattr(module, f"{side}_zero_point")
    return round_trip(x, scale, zero_point, signed=getattr(module, f"{side}_signed"))


def round_trip(x: Tensor, scale: Tensor | float, zero_point: Tensor | int, *, signed: bool) -> Tensor:
    """`x` to 8-bit integers and back; scale and zero point are tensors (), or numbers, which alone can be exported."""
    limits = INT8 if signed else UINT8
    if isinstance(scale, Tensor):
        q = Q.quantize_per_tensor.tensor(x, scale, zero_point, *limits)
        return cast(Tensor, Q.dequantize_per_tensor.tensor(q, scale, zero_point, *limits))
    q = Q.quantize_per_tensor(x, scale, zero_point, *limits)
    return cast(Tensor, Q.dequantize_per_tensor(q, scale, zero_point, *limits))
