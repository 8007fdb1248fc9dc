"""A Conv2d as two or three thinner ones: fewer channels in the middle (Tucker-2), or a column and a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import ShapeError
from paring.graph.sites import replace, submodule


class LowRankConv2d(nn.Sequential):
    """Ordinary convolutions one after the other, so that later passes find and treat them; the last has the bias."""

    def set_(self, *weights: Tensor) -> None:
        """Puts the kernels in, one a child, each (out, in, height, width)."""
        for conv, weight in zip(self, weights, strict=True):
            assert isinstance(conv, nn.Conv2d)
            conv.weight.data.copy_(weight.reshape(conv.weight.shape))

    @property
    def last(self) -> nn.Conv2d:
        """The child that holds the bias."""
        conv = self[len(self) - 1]
        assert isinstance(conv, nn.Conv2d)
        return conv


@final
@dataclass(frozen=True)
class FactorizeConv(Edit):
    """Replaces Conv2d `layer` by 1x1 to `rank_in` channels, its own kernel to `rank_out`, and 1x1 back; see Tucker-2.

    A rank of None leaves that side as it is: no 1x1 convolution stands there. The bias moves to the last one.
    Example: 64 -> 128 channels, 3x3, rank_in 16, rank_out 32: 64 -> 16 (1x1), 16 -> 32 (3x3), 32 -> 128 (1x1).
    """

    layer: str
    rank_in: int | None
    rank_out: int | None

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`. Raises ShapeError if `layer` is no Conv2d without groups."""
        dense = _dense(model, self.layer, "FactorizeConv")
        like = _like(dense)
        into, out = self.rank_in or dense.in_channels, self.rank_out or dense.out_channels
        core = nn.Conv2d(
            into,
            out,
            dense.kernel_size,  # type: ignore[arg-type]
            stride=dense.stride,  # type: ignore[arg-type]
            padding=dense.padding,  # type: ignore[arg-type]
            dilation=dense.dilation,  # type: ignore[arg-type]
            padding_mode=dense.padding_mode,
            bias=False,
            **like,
        )
        first = [] if self.rank_in is None else [nn.Conv2d(dense.in_channels, into, 1, bias=False, **like)]
        last = [] if self.rank_out is None else [nn.Conv2d(out, dense.out_channels, 1, bias=False, **like)]
        return _replaced(model, self.layer, dense, [*first, core, *last])


@final
@dataclass(frozen=True)
class FactorizeSpatial(Edit):
    """Replaces Conv2d `layer` by a column kernel (k x 1) to `rank` channels and a row kernel (1 x k) from them."""

    layer: str
    rank: int

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`. Raises ShapeError if `layer` is no Conv2d without groups."""
        dense = _dense(model, self.layer, "FactorizeSpatial")
        both = []
        for axis, (into, out) in enumerate(((dense.in_channels, self.rank), (self.rank, dense.out_channels))):
            padding: Any = dense.padding
            if not isinstance(padding, str):
                padding = _along(padding, axis, 0)
            both.append(
                nn.Conv2d(
                    into,
                    out,
                    _along(dense.kernel_size, axis, 1),
                    stride=_along(dense.stride, axis, 1),
                    padding=padding,
                    dilation=_along(dense.dilation, axis, 1),
                    padding_mode=dense.padding_mode,
                    bias=False,
                    **_like(dense),
                )
            )
        return _replaced(model, self.layer, dense, both)


def _dense(model: nn.Module, layer: str, edit: str) -> nn.Conv2d:
    dense = submodule(model, layer)
    if not isinstance(dense, nn.Conv2d) or dense.groups != 1:
        kind = f"a {type(dense).__name__}" if not isinstance(dense, nn.Conv2d) else "a grouped Conv2d"
        raise ShapeError(f"{edit}: {layer} is {kind}; only a Conv2d without groups can be factorized.")
    return dense


def _like(dense: nn.Conv2d) -> dict[str, Any]:
    return {"device": dense.weight.device, "dtype": dense.weight.dtype}


def _along(pair: Any, axis: int, other: int) -> tuple[int, int]:
    return (pair[0], other) if axis == 0 else (other, pair[1])


def _replaced(model: nn.Module, layer: str, dense: nn.Conv2d, convs: list[nn.Conv2d]) -> nn.Module:
    convs[-1].bias = dense.bias
    return replace(model, layer, LowRankConv2d(*convs).train(dense.training))
