"""Batch-norm statistics measured anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from paring.core.edit import Changed, Declined, Progress, Step
from paring.core.recipe import Pass
from paring.core.task import Task, call
from paring.errors import BatchError
from paring.graph.edits.fold import NORMS
from paring.graph.sites import layers_of


@final
@dataclass(frozen=True)
class Reestimate(Pass):
    """Batch-norm means and variances taken anew over the calibration data (Nagel et al. 2022, arXiv:2203.11086).

    After pruning, factorizing or rounding a convolution its outputs are spread differently than its norm remembers.
    The new statistics are the plain average over all batches.
    """

    name: ClassVar[str] = "quantize.reestimate"
    structural: ClassVar[bool] = False
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the batch norms are folded into stored weights. Put quantize.reestimate before."
    }

    @torch.no_grad()
    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields the norms as Changed. Raises BatchError for an empty calibration."""
        assert task.calibration is not None
        norms: dict[str, Any] = {
            name: module
            for name, module in layers_of(model, NORMS)
            if self.selects(name) and module.running_mean is not None
        }
        if not norms:
            yield Declined("the model", "it has no batch norm with running statistics")
            return
        momenta = {name: module.momentum for name, module in norms.items()}
        total = len(task.calibration) if isinstance(task.calibration, Sized) else 0
        count = 0
        model.eval()
        try:
            for module in norms.values():
                module.reset_running_stats()
                module.momentum = None
                module.train()
            for count, (inputs, _) in enumerate(task.calibration, start=1):
                call(model, inputs)
                yield Progress(count, max(total, count), "measuring batch norms")
        finally:
            for name, module in norms.items():
                module.momentum = momenta[name]
                module.eval()
        if count == 0:
            raise BatchError(f"{self.name}: task.calibration holds no batch; give at least one.")
        yield Changed(tuple(norms))
