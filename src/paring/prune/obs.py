"""Unstructured pruning by optimal brain surgeon: what stays makes up for what goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import SettingError, UnknownNameError
from paring.graph.capture import Sweep, input_moments
from paring.graph.columns import column_sites
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.masking import Site
from paring.numerics.importance import NM
from paring.numerics.obs import Order, damped, obs_mask, refit
from paring.prune.settings import check_sparsity

KINDS = (nn.Linear, nn.Conv2d)


@final
@dataclass(frozen=True)
class Obs(Pass):
    """Zeroes the weights whose loss the others can best make up for, and solves for the others exactly.

    Layer by layer behind the layers pruned already, without training; peak memory is one layer's Hessian. `order`
    "blocks" chooses in one sweep over the columns (SparseGPT), "greedy" one weight of a row at a time (exact, slower).
    `pattern` asks for N:M. Raises: SettingError.
    Reference: Frantar & Alistarh 2023, arXiv:2301.00774. Greedy order: Frantar et al. 2022, arXiv:2208.11580.
    """

    name: ClassVar[str] = "prune.obs"
    traits: ClassVar[frozenset[str]] = frozenset({"zeros"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Prune first, then quantize."
    }

    sparsity: float = 0.5  # fraction of zeros
    pattern: NM | None = None
    order: Order = "blocks"
    damping: float = 0.01  # fraction of mean(diag(H)) added to the diagonal
    block_size: int = 128

    def __post_init__(self) -> None:
        check_sparsity(self.name, self.sparsity, self.pattern, Obs.sparsity)
        if self.order not in get_args(Order):
            raise UnknownNameError("order", self.order, get_args(Order), self.name)
        if self.damping <= 0 or self.block_size < 1:
            raise SettingError(f"{self.name}: damping {self.damping} and block_size {self.block_size} must be above 0.")

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`. Raises BatchError without a batch, ForwardError for NaN on the way."""
        yield from unfuse_all(model)
        assert task.calibration is not None
        sweep = Sweep(model, task.calibration, self.name)
        chosen = yield from accepted(column_sites(self, model, sweep, KINDS, self.pattern))
        for site in chosen:
            layer = cast(nn.Linear | nn.Conv2d, model.get_submodule(site.layer))
            second_II = input_moments(sweep, site.layer, layer).second_II
            yield from site.edits()
            self._prune_(model, site, damped(second_II, self.damping), second_II.diagonal() > 0)

    @torch.no_grad()
    def _prune_(self, model: nn.Module, site: Site, H_II: Tensor, alive_I: Tensor) -> None:
        weight = site.weight(model)
        W_OI = weight.detach().double().flatten(1).cpu()
        gone = site.gone(model)
        keep_OI = obs_mask(
            W_OI * alive_I,  # inputs that are always zero lose nothing; damping alone would charge for them
            H_II,
            self.sparsity if self.pattern is None else self.pattern,
            order=self.order,
            block_size=self.block_size,
            gone_OI=None if gone is None else gone.flatten(1).cpu(),
        )
        weight.copy_(refit(W_OI, H_II, keep_OI).reshape(weight.shape))
        site.put_(model, keep_OI.reshape(weight.shape).to(weight.device))
