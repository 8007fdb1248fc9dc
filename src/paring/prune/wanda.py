"""Unstructured pruning by weight times input norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import UnknownNameError
from paring.graph.capture import Sweep
from paring.graph.columns import column_sites, mean_squares
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.masking import Site, choose_masks
from paring.numerics.importance import NM, magnitude
from paring.prune.settings import check_sparsity

KINDS = (nn.Linear, nn.Conv2d)
WandaScope = Literal["row", "layer"]


@final
@dataclass(frozen=True)
class Wanda(Pass):
    """Zeroes the weights whose product with the norm of their input is smallest, each output losing the same share.

    Inputs are those behind the layers pruned already; no training, no update of what stays. `pattern` asks for N:M.
    Raises: SettingError. Reference: Sun et al. 2023, arXiv:2306.11695.
    """

    name: ClassVar[str] = "prune.wanda"
    traits: ClassVar[frozenset[str]] = frozenset({"zeros"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Prune first, then quantize."
    }

    sparsity: float = 0.5  # fraction of zeros
    scope: WandaScope = "row"
    pattern: NM | None = None

    def __post_init__(self) -> None:
        check_sparsity(self.name, self.sparsity, self.pattern, Wanda.sparsity)
        if self.scope not in get_args(WandaScope):
            raise UnknownNameError("scope", self.scope, get_args(WandaScope), self.name)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`. Raises BatchError without a batch, ForwardError for NaN on the way."""
        yield from unfuse_all(model)
        assert task.calibration is not None
        sweep = Sweep(model, task.calibration, self.name)
        chosen = yield from accepted(column_sites(self, model, sweep, KINDS, self.pattern))
        for site in chosen:
            yield from site.edits()
            score = site.scores(model, self._scores(model, site, sweep))
            (mask,) = choose_masks([score], self._final(), self.pattern, self.scope)
            site.put_(model, mask)

    def _scores(self, model: nn.Module, site: Site, sweep: Sweep) -> Tensor:
        weight = site.weight(model)
        layer = cast(nn.Linear | nn.Conv2d, model.get_submodule(site.layer))
        norms = mean_squares(sweep, site.layer, layer).sqrt().to(torch.float32).reshape(weight[0].shape)
        return magnitude(weight) * norms.to(weight.device)

    def _final(self) -> float:
        return self.sparsity if self.pattern is None else self.pattern.sparsity
