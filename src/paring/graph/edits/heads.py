"""Attention heads really removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import nn

from paring.core.edit import Edit
from paring.graph.edits.slice import Slice, SliceChannels
from paring.graph.sites import submodule


@final
@dataclass(frozen=True)
class PruneHeads(Edit):
    """Keeps `heads` of the attention `layer`, and mends the sizes it states.

    `slices` are those of `SliceChannels`: rows of the query, key and value projections, columns of the output;
    `sizes` are (attribute, value) of the attention module. Hugging Face configs hold one head count for all layers,
    so they cannot express the result: the edit does.
    """

    layer: str
    heads: tuple[int, ...]
    slices: tuple[Slice, ...]
    sizes: tuple[tuple[str, int], ...]

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`. Raises UnknownNameError or ShapeError as `SliceChannels` does."""
        SliceChannels(self.layer, self.slices).apply(model)
        for attribute, value in self.sizes:
            setattr(submodule(model, self.layer), attribute, value)
        return model
