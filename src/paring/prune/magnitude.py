"""Unstructured pruning by magnitude, or by the second derivative of the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import UnknownNameError
from paring.graph.curvature import hessian_diagonals
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.masking import Site, choose_masks, sites
from paring.numerics.importance import NM, Scope, magnitude, saliency
from paring.prune.settings import OneShot, SparsitySchedule, check_sparsity

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
Importance = Literal["magnitude", "obd"]


@final
@dataclass(frozen=True)
class Magnitude(Pass):
    """Zeroes the smallest weights of Linear and convolution layers and holds them at zero through later training.

    The sparsity is hit exactly, over all selected weights together ("global") or in each layer; `pattern` asks for
    N:M zeros instead. Weights that an earlier mask removed count and stay removed. A weight that several layers share
    is masked once, in all of them. `importance="obd"` ranks by h w^2 / 2, h the loss's second derivative over the
    calibration data (optimal brain damage, LeCun 1989). `schedule=Cubic()` prunes gradually while training.
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
    importance: Importance = "magnitude"
    pattern: NM | None = None
    schedule: SparsitySchedule = field(default_factory=OneShot)

    def __post_init__(self) -> None:
        check_sparsity(self.name, self.sparsity, self.pattern, Magnitude.sparsity)
        for setting, allowed in (("scope", get_args(Scope)), ("importance", get_args(Importance))):
            if getattr(self, setting) not in allowed:
                raise UnknownNameError(setting, getattr(self, setting), allowed, self.name)

    def requirements(self) -> frozenset[str]:
        """Calibration data for "obd", and what the schedule asks for."""
        own = {"calibration"} if self.importance == "obd" else frozenset()
        return self.needs | own | self.schedule.needs()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`. Raises LayerError for a layer named outright whose weight an excluded layer shares."""
        yield from unfuse_all(model)
        chosen = yield from accepted(sites(self, model, KINDS, pattern=self.pattern))
        for site in chosen:
            yield from site.edits()
        final = self.sparsity if self.pattern is None else self.pattern.sparsity

        def put(sparsity: float) -> None:
            scores = self._scores(model, task, chosen)
            for site, mask in zip(chosen, choose_masks(scores, sparsity, self.pattern, self.scope), strict=True):
                site.put_(model, mask)

        yield from self.schedule.run(model, task, final, put, repr(self))

    def _scores(self, model: nn.Module, task: Task, chosen: list[Site]) -> list[Tensor]:
        """What each weight is worth, and -1 where an earlier mask removed it."""
        if self.importance == "magnitude":
            return [site.scores(model, magnitude(site.weight(model))) for site in chosen]
        device = chosen[0].weight(model).device if chosen else torch.device("cpu")
        curved = hessian_diagonals(model, [site.layer for site in chosen], task, self.name)
        worth = [saliency(site.weight(model), curved[site.layer].to(device)) for site in chosen]
        return [site.scores(model, score) for site, score in zip(chosen, worth, strict=True)]
