"""A mask beside a weight: which entries may be non-zero, kept through all later training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.sites import submodule

MASK = "weight_mask"


@final
@dataclass(frozen=True)
class MaskWeight(Edit):
    """Registers a boolean buffer `weight_mask` beside `layer.weight`, all True; an existing mask stays as it is.

    A layer stays the plain module it was. Layers that share one weight share one mask.
    Raises: LayerError if the layer has no parameter called `weight`.
    """

    layer: str

    def apply(self, model: nn.Module) -> nn.Module:
        module = submodule(model, self.layer)
        weight = module._parameters.get("weight")
        if weight is None:
            raise LayerError(f"{self.layer}: a {type(module).__name__} without a weight parameter takes no mask.")
        if MASK not in module._buffers:
            shared = (mask for _, other, mask in masked(model) if other._parameters["weight"] is weight)
            module.register_buffer(MASK, next(shared, torch.ones_like(weight, dtype=torch.bool)))
        return model


def masked(model: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """(name, module, mask) of every layer whose weight carries a mask."""
    for name, module in model.named_modules():
        mask = module._buffers.get(MASK)
        if mask is not None and module._parameters.get("weight") is not None:
            yield name, module, mask


@torch.no_grad()
def apply_masks_(model: nn.Module) -> None:
    """Zeroes every masked-out weight in place: after each optimizer step, and wherever a mask was set."""
    for _, module, mask in masked(model):
        weight = module._parameters["weight"]
        assert weight is not None
        weight.masked_fill_(~mask, 0.0)  # a product would keep NaN and leave -0.0
