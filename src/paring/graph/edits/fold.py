"""Batch normalization folded into the layer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from paring.core.edit import Edit
from paring.errors import LayerError, ShapeError
from paring.graph.sites import replace, submodule
from paring.numerics.quant import spread

FOLDABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@final
@dataclass(frozen=True)
class FoldBatchNorm(Edit):
    """Scales `layer`'s output channels as `batch_norm` would in eval mode, and puts an Identity in its place.

    A missing bias is added. Reference: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """

    layer: str
    batch_norm: str

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises LayerError for kinds it cannot fold, ShapeError for channel counts that differ."""
        layer: Any = submodule(model, self.layer)
        norm: Any = submodule(model, self.batch_norm)
        self._check(layer, norm)
        weight, bias = layer.weight, layer.bias
        with torch.no_grad():
            gain_O = torch.rsqrt(norm.running_var.double() + norm.eps)
            if norm.weight is not None:
                gain_O = gain_O * norm.weight.double()
            new_bias_O = ((0.0 if bias is None else bias.double()) - norm.running_mean.double()) * gain_O
            if norm.bias is not None:
                new_bias_O = new_bias_O + norm.bias.double()
            weight.copy_(weight.double() * spread(gain_O, weight))
            if bias is None:
                layer.bias = nn.Parameter(new_bias_O.to(weight.dtype), weight.requires_grad)
            else:
                bias.copy_(new_bias_O)
        return replace(model, self.batch_norm, nn.Identity().train(norm.training))

    def _check(self, layer: Any, norm: Any) -> None:
        if type(layer) not in FOLDABLE or type(norm) not in NORMS:
            raise LayerError(
                f"FoldBatchNorm: cannot fold {self.batch_norm} ({type(norm).__name__}) into {self.layer} "
                f"({type(layer).__name__}); it folds BatchNorm into Linear and Conv."
            )
        if norm.running_mean is None:
            raise LayerError(f"FoldBatchNorm: {self.batch_norm} keeps no running statistics, so it cannot be folded.")
        if len(layer.weight) != len(norm.running_mean):
            raise ShapeError(
                f"FoldBatchNorm: {self.layer} has {len(layer.weight)} output channels, "
                f"and {self.batch_norm} {len(norm.running_mean)}."
            )
