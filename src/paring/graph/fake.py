"""Layers that compute with rounded weights and inputs while their real weights learn. Legend: O out."""

from __future__ import annotations

from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.numerics.quant import TINY, spread

Scheme = Literal["steps", "ternary", "binary", "stochastic"]
UINT8_MAX = 255
TERNARY_SHARE = 0.7  # of the mean |w|, below which a weight becomes zero: near the optimum for normal weights


class FakeQuantizedLayer(nn.Module):
    """What Linear and Conv2d share: `weight_log_step` (O,) and, where the input is rounded, `input_log_step` ().

    "steps" rounds to integers in -quant_max..quant_max times a step that is learned (Esser et al. 2020, LSQ,
    arXiv:1902.08153); its logarithm learns, since the moves of Adam are of one size, whatever the step's (Jain et al.
    2020, arXiv:1903.08066). "ternary" keeps the sign of weights above a threshold and "binary" of all, each channel
    times its mean magnitude (Li et al. 2016, arXiv:1605.04711; Rastegari et al. 2016, arXiv:1603.05279); "stochastic"
    draws the sign while training (Courbariaux et al. 2015, arXiv:1511.00363). Gradients pass straight through rounding.
    """

    weight_log_step: nn.Parameter
    input_log_step: nn.Parameter | None
    input_zero_point: Tensor

    def prepare(self, like: nn.Module, scheme: Scheme, quant_max: int, inputs: bool) -> None:
        """Takes over the parameters of `like`, its mask too, and registers the steps."""
        self.scheme, self.quant_max, self.inputs = scheme, quant_max, inputs
        self._parameters["weight"], self._parameters["bias"] = like._parameters["weight"], like._parameters["bias"]
        weight = self.latent
        self.weight_log_step = nn.Parameter(torch.zeros_like(weight.detach().flatten(1)[:, 0]).contiguous())
        self.input_log_step = nn.Parameter(weight.detach().new_zeros(())) if inputs else None
        self.register_buffer("input_zero_point", torch.zeros((), device=weight.device))
        if (mask := like._buffers.get("weight_mask")) is not None:
            self.register_buffer("weight_mask", mask)
        self.train(like.training)

    @property
    def latent(self) -> Tensor:
        """The real weight that learns."""
        weight = self._parameters["weight"]
        assert weight is not None
        return weight

    def integers(self) -> tuple[Tensor, Tensor]:
        """(q, scale_O): what the weights stand for now, q (shape of weight) of whole floats."""
        return self._integers(draw=False)

    def _integers(self, *, draw: bool) -> tuple[Tensor, Tensor]:
        W = self.latent
        if self.scheme == "steps":
            gradient_scale = (W[0].numel() * self.quant_max) ** -0.5
            step_O = _scaled_gradient(step_of(self.weight_log_step), gradient_scale)
            return _round((W / spread(step_O, W)).clamp(-self.quant_max, self.quant_max)), step_O
        size = W.abs()
        if self.scheme == "ternary":
            keep = size > spread(TERNARY_SHARE * size.flatten(1).mean(1), W)
            scale_O = (size * keep).flatten(1).sum(1) / keep.flatten(1).sum(1).clamp_min(1)
            scale_O = scale_O.detach().clamp_min(TINY)
            return _straight(torch.sign(W) * keep, W / spread(scale_O, W)), scale_O
        scale_O = size.flatten(1).mean(1).detach().clamp_min(TINY)
        soft = W / spread(scale_O, W)
        if draw:
            sign = torch.where(torch.rand_like(W) < (soft.detach().clamp(-1, 1) + 1) / 2, 1.0, -1.0)
        else:
            sign = torch.where(W >= 0, 1.0, -1.0)
        mask = self._buffers.get("weight_mask")
        return _straight(sign if mask is None else sign * mask, soft), scale_O

    def rounded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(input, weight) as they are multiplied."""
        q, scale_O = self._integers(draw=self.training and self.scheme == "stochastic")
        if self.input_log_step is not None:
            gradient_scale = (max(x[0].numel(), 1) * UINT8_MAX) ** -0.5
            step = _scaled_gradient(step_of(self.input_log_step), gradient_scale)
            zero = self.input_zero_point
            x = (_round((x / step + zero).clamp(0, UINT8_MAX)) - zero) * step
        return x, q * spread(scale_O, q)


@final
class FakeQuantizedLinear(FakeQuantizedLayer, nn.Linear):
    """`nn.Linear` that learns while it rounds."""

    def forward(self, x: Tensor) -> Tensor:
        x, weight = self.rounded(x)
        return functional.linear(x, weight, self.bias)


@final
class FakeQuantizedConv2d(FakeQuantizedLayer, nn.Conv2d):
    """`nn.Conv2d` that learns while it rounds."""

    def forward(self, x: Tensor) -> Tensor:
        x, weight = self.rounded(x)
        return cast(Tensor, self._conv_forward(x, weight, self.bias))


def fake_quantized(layer: nn.Linear | nn.Conv2d, scheme: Scheme, quant_max: int, inputs: bool) -> FakeQuantizedLayer:
    """The layer that takes the place of `layer`, its parameters shared."""
    has_bias = layer.bias is not None
    new: FakeQuantizedLayer
    if isinstance(layer, nn.Linear):
        new = FakeQuantizedLinear(layer.in_features, layer.out_features, has_bias, device="meta")
    else:
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        make: Any = FakeQuantizedConv2d
        new = make(*shape, layer.groups, has_bias, layer.padding_mode, device="meta")
    new.prepare(layer, scheme, quant_max, inputs)
    return new


def step_of(log_step: Tensor) -> Tensor:
    """The step whose logarithm learns; never below 2^-60, which is far above where products underflow."""
    return log_step.exp().clamp_min(TINY)


def _round(x: Tensor) -> Tensor:
    return _straight(torch.round(x), x)


def _straight(value: Tensor, through: Tensor) -> Tensor:
    """`value`, with the gradient of `through`."""
    return through + (value - through).detach()


def _scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """`x`, with its gradient times `factor`."""
    return _straight(x, x * factor)
