"""Layers as the clock sees them. The one file of this room that knows modules."""

from __future__ import annotations

from torch import nn

from paring.clock.chain import Chain, Conv, Gemm


def chain_of(layer: nn.Module) -> Chain:
    """A Linear or a Conv2d without groups as one operation; nothing for any other."""
    if isinstance(layer, nn.Linear):
        return (Gemm(layer.in_features, layer.out_features, layer.bias is not None),)
    if isinstance(layer, nn.Conv2d) and layer.groups == 1:
        return (conv_of(layer, layer.in_channels, layer.out_channels, bias=layer.bias is not None),)
    return ()


def conv_of(dense: nn.Conv2d, num_in: int, num_out: int, *, bias: bool) -> Conv:
    """The layer's own kernel between other channel counts."""
    left, right, top, bottom = dense._reversed_padding_repeated_twice
    return Conv(
        num_in,
        num_out,
        (dense.kernel_size[0], dense.kernel_size[1]),
        (dense.stride[0], dense.stride[1]),
        (top, left, bottom, right),
        (dense.dilation[0], dense.dilation[1]),
        bias,
    )
