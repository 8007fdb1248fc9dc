"""Masks put onto the layers that a pass selects: a weight that several layers share is masked once, in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

import torch
from torch import Tensor, nn

from paring.core.edit import Declined
from paring.core.recipe import Pass
from paring.graph.edits.mask import MASK, MaskWeight
from paring.graph.sites import sharers
from paring.graph.targets import targets
from paring.numerics.importance import NM, Scope, nm_mask, row_masks, sparsity_masks


@dataclass(frozen=True)
class Site:
    """One weight to mask: the layers that hold it, the first of which is `layer`."""

    layers: tuple[str, ...]

    @property
    def layer(self) -> str:
        """The layer the weight is known by."""
        return self.layers[0]

    def weight(self, model: nn.Module) -> Tensor:
        """The weight itself."""
        return cast(Tensor, model.get_submodule(self.layer)._parameters["weight"])

    def gone(self, model: nn.Module) -> Tensor | None:
        """True where an earlier mask removed the weight; None where there is no mask."""
        mask = model.get_submodule(self.layer)._buffers.get(MASK)
        return None if mask is None else ~mask

    def scores(self, model: nn.Module, importance: Tensor) -> Tensor:
        """`importance` with -1 where an earlier mask removed the weight."""
        gone = self.gone(model)
        return importance if gone is None else importance.masked_fill(gone, -1.0)

    def edits(self) -> Iterator[MaskWeight]:
        """One MaskWeight for each layer that holds the weight."""
        for layer in self.layers:
            yield MaskWeight(layer)

    @torch.no_grad()
    def put_(self, model: nn.Module, mask: Tensor) -> None:
        """Sets the mask, in all the layers, and zeroes what it removes."""
        for layer in self.layers:
            module = model.get_submodule(layer)
            cast(Tensor, module._buffers[MASK]).copy_(mask)
        self.weight(model).masked_fill_(~mask, 0.0)


def sites(
    step: Pass, model: nn.Module, kinds: tuple[type[nn.Module], ...], *, pattern: NM | None = None
) -> Iterator[Site | Declined]:
    """Each weight that `step` selects, once; Declined where it cannot be masked or does not fit the pattern.

    Raises: LayerError for a layer named outright that would be declined, unless `on_unsupported="skip"`.
    """
    tied = sharers(model)
    seen: set[int] = set()
    for target in targets(step, model, kinds, shared=True):
        if isinstance(target, Declined):
            yield target
            continue
        name, module = target
        weight = module._parameters.get("weight")
        others = [o for o in tied.get(name, ()) if model.get_submodule(o)._parameters.get("weight") is weight]
        if reason := _unwilling(step, weight, others, pattern):
            yield step.decline(name, reason)
        elif id(weight) not in seen:
            seen.add(id(weight))
            yield Site((name, *others))


def _unwilling(step: Pass, weight: Tensor | None, others: list[str], pattern: NM | None) -> str | None:
    if weight is None:
        return "its weight is parametrized; remove the parametrization first"
    excluded = [other for other in others if any(fnmatchcase(other, glob) for glob in step.exclude)]
    if excluded:
        return f"its weight is shared with {excluded[0]}, which is excluded"
    inputs = weight[0].numel()
    if pattern is not None and inputs % pattern.m:
        return f"its {inputs} inputs are not a multiple of {pattern.m}"
    return None


def choose_masks(scores: list[Tensor], sparsity: float, pattern: NM | None, scope: Scope | str) -> list[Tensor]:
    """For each layer's scores the mask of what stays: by pattern, by row, by layer, or over all together.

    A pattern on its way to its sparsity removes the whole number of weights a group that fits.
    """
    if pattern is not None:
        removed = min(int(pattern.m * sparsity + 1e-9), pattern.m - pattern.n)
        return [nm_mask(score, pattern, removed) for score in scores]
    if scope == "row":
        return [row_masks(score, sparsity) for score in scores]
    return sparsity_masks(scores, sparsity, "global" if scope == "global" else "layer")
