"""Layers whose weights point into a few shared values: a codebook that learns, or an even grid. Legend: K values."""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.graph import dialect  # noqa: F401  (registers the operations)

INT8_VALUES = 128


class Values(nn.Module):
    """A tensor of codes and what they stand for. `frozen` is for the copy to be exported."""

    codes: Tensor
    frozen: bool = False

    def freeze(self) -> None:
        """Turns what the codes stand for into constants."""
        self.frozen = True


@final
class Codebook(Values):
    """Codes into `num_values` values in ascending order, counted from the place `origin` of zero.

    The values are parameters: training moves each by the sum of the gradients of the weights that share it (Han et al.
    2016, arXiv:1510.00149). With `zero` one of them is zero and stays so.
    """

    values: Tensor

    def __init__(self, shape: torch.Size, num_values: int, origin: int, zero: bool, like: Tensor) -> None:
        super().__init__()
        self.origin, self.zero = origin, zero
        dtype = torch.int8 if num_values <= INT8_VALUES else torch.int16
        self.register_buffer("codes", torch.zeros(shape, dtype=dtype, device=like.device))
        self.values = nn.Parameter(like.detach().new_zeros(num_values - zero))

    @torch.no_grad()
    def set_(self, place: Tensor, values: Tensor) -> None:
        """Puts numbers in: `place` of each weight in `values` (K,), zero included where it is one."""
        self.codes.copy_(place - self.origin)
        kept = torch.cat((values[: self.origin], values[self.origin + 1 :])) if self.zero else values
        self.values.copy_(kept)

    def table(self) -> Tensor:
        """All values, (K,)."""
        if not self.zero:
            return self.values
        return torch.cat((self.values[: self.origin], self.values.new_zeros(1), self.values[self.origin :]))

    def freeze(self) -> None:
        # Rolled so that code 0 is entry 0 and negative codes count from the end, which both PyTorch and ONNX allow.
        table = torch.roll(self.table().detach(), -self.origin)
        del self._parameters["values"]
        self.register_buffer("table_", table)
        super().freeze()

    def forward(self) -> Tensor:
        if self.frozen:
            return cast(Tensor, torch.ops.paring.lookup(self._buffers["table_"], self.codes))
        return self.table()[self.codes.long() + self.origin]


@final
class EvenGrid(Values):
    """Codes times a step: one, with `columns` one for each input (dimension 1 and beyond), with `rows` each output."""

    scale: Tensor

    def __init__(self, shape: torch.Size, like: Tensor, *, columns: bool = False, rows: bool = False) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(shape, dtype=torch.int8, device=like.device))
        steps = (shape[0] if rows else 1, *(shape[1:] if columns else (1,) * (len(shape) - 1)))
        self.register_buffer("scale", like.detach().new_ones(steps))

    @torch.no_grad()
    def set_(self, codes: Tensor, scale: Tensor | float) -> None:
        """Puts numbers in: codes -127 .. 127, scale of the shape of `self.scale`."""
        assert int(codes.abs().max()) < INT8_VALUES
        self.codes.copy_(codes)
        self.scale.copy_(torch.as_tensor(scale).reshape(self.scale.shape if self.scale.numel() > 1 else ()))

    def forward(self) -> Tensor:
        if self.frozen:
            return cast(Tensor, torch.ops.paring.grid_values(self.codes, self.scale))
        return self.codes.to(self.scale.dtype) * self.scale


class SharedLayer(nn.Module):
    """What the shared layers have in common: `shared` gives the weight, `shared_bias` the bias where it is shared."""

    shared: Values
    shared_bias: Values | None

    def __init__(self, layer: nn.Linear | nn.Conv2d, shared: Values, shared_bias: Values | None) -> None:
        super().__init__()
        self.shared, self.shared_bias = shared, shared_bias
        plain = None if shared_bias is not None else layer._parameters["bias"]
        self.register_parameter("own_bias", plain)
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The weight that the codes stand for, float."""
        return cast(Tensor, self.shared())

    @property
    def bias(self) -> Tensor | None:
        """The bias, shared or not."""
        return self._parameters["own_bias"] if self.shared_bias is None else cast(Tensor, self.shared_bias())

    def freeze(self) -> None:
        """For the copy to be exported."""
        for part in (self.shared, self.shared_bias):
            if part is not None:
                part.freeze()


@final
class SharedLinear(SharedLayer):
    """`nn.Linear` with shared weights."""

    def __init__(self, layer: nn.Linear, shared: Values, shared_bias: Values | None) -> None:
        super().__init__(layer, shared, shared_bias)
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@final
class SharedConv2d(SharedLayer):
    """`nn.Conv2d` with shared weights."""

    def __init__(self, layer: nn.Conv2d, shared: Values, shared_bias: Values | None) -> None:
        super().__init__(layer, shared, shared_bias)
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
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
