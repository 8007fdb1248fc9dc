"""Unstructured pruning by magnitude."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, cast, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError, UnknownNameError
from paring.graph.edits.mask import MaskWeight, apply_masks_
from paring.graph.sites import sharers
from paring.graph.targets import targets
from paring.numerics.importance import Scope, magnitude, sparsity_masks

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@final
@dataclass(frozen=True)
class Magnitude(Pass):
    """Zeroes the smallest weights of Linear and convolution layers and holds them at zero through later training.

    The sparsity is hit exactly, over all selected weights together ("global") or in each layer. Weights that an earlier
    mask removed count and stay removed. A weight that several layers share is masked once, in all of them.
    Raises: SettingError for a sparsity outside (0, 1) or an unknown scope.
    Reference: Han et al. 2015, arXiv:1506.02626.
    """

    name: ClassVar[str] = "prune.magnitude"
    needs: ClassVar[frozenset[str]] = frozenset()
    traits: ClassVar[frozenset[str]] = frozenset({"zeros"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already, and their scales were chosen with every weight present. "
        "Prune first, then quantize."
    }

    sparsity: float = 0.5  # fraction of zeros
    scope: Scope = "global"

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise SettingError(f"{self.name}: sparsity is {self.sparsity}; it must lie between 0 and 1, both excluded.")
        if self.scope not in get_args(Scope):
            raise UnknownNameError("scope", self.scope, get_args(Scope), self.name)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`. Raises LayerError for a layer named outright whose weight an excluded layer shares."""
        owners: dict[int, list[str]] = {}
        tied = sharers(model)
        for target in targets(self, model, KINDS, shared=True):
            if isinstance(target, Declined):
                yield target
                continue
            name, module = target
            others = tied.get(name, ())
            if reason := self._unwilling(model, name, module, others):
                if name in self.include and self.on_unsupported == "raise":
                    raise LayerError(f'{self.name}: {name}: {reason}. Exclude it, or set on_unsupported="skip".')
                yield Declined(name, reason)
            elif id(module._parameters["weight"]) not in owners:
                owners[id(module._parameters["weight"])] = [name, *self._holders(model, module, others)]
        keep = sparsity_masks([_scores(model, names[0]) for names in owners.values()], self.sparsity, self.scope)
        for names, mask in zip(owners.values(), keep, strict=True):
            for name in names:
                yield MaskWeight(name)
                cast(Tensor, model.get_submodule(name).weight_mask).copy_(mask)
        apply_masks_(model)

    def _unwilling(self, model: nn.Module, name: str, module: nn.Module, others: tuple[str, ...]) -> str | None:
        if "weight" not in module._parameters:
            return "its weight is parametrized; remove the parametrization first"
        holders = self._holders(model, module, others)
        excluded = [other for other in holders if any(fnmatchcase(other, pattern) for pattern in self.exclude)]
        return f"its weight is shared with {excluded[0]}, which is excluded" if excluded else None

    @staticmethod
    def _holders(model: nn.Module, module: nn.Module, others: tuple[str, ...]) -> list[str]:
        weight = module._parameters["weight"]
        return [other for other in others if model.get_submodule(other)._parameters.get("weight") is weight]


@torch.no_grad()
def _scores(model: nn.Module, name: str) -> Tensor:
    """|W|, and -1 where an earlier mask removed the weight."""
    module = model.get_submodule(name)
    scores = magnitude(cast(Tensor, module.weight))
    mask = module._buffers.get("weight_mask")
    return scores if mask is None else scores.masked_fill(~mask, -1.0)
