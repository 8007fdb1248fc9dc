"""Torch-Pruning 1.6.1 as its own reproduction script drives it: small steps until the MACs are few enough."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from paring.core.task import Task
from paring.graph.reconstruct import reestimate_batch_norm_
from paring.measure.macs import macs

STEPS = 400  # what the script takes by default


@dataclass(frozen=True)
class Peer:
    """A run of `MagnitudePruner` with group importance; the classifier is left alone, as the script does.

    `scope`: "local" cuts every group alike, "global" ranks all together, "isomorphic" all of one shape. Taylor takes
    the gradient of the loss over the whole calibration set. `reestimate` is ours: batch norms measured anew behind it.
    """

    importance: Literal["magnitude", "taylor"]
    scope: Literal["local", "global", "isomorphic"] = "global"
    reestimate: bool = False

    def run(self, task: Task, most_macs: float) -> nn.Module:
        """A pruned copy of the task's model with at most so many MACs."""
        import torch_pruning as tp

        model = copy.deepcopy(task.model).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(True)  # it walks the autograd graph, where frozen weights vanish
        kind: Any = {
            "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2),
            "taylor": tp.importance.GroupTaylorImportance,
        }[self.importance]
        pruner = tp.pruner.MagnitudePruner(
            model,
            task.example_inputs,
            importance=kind(),
            global_pruning=self.scope != "local",
            isomorphic=self.scope == "isomorphic",
            pruning_ratio=1.0,
            iterative_steps=STEPS,
            ignored_layers=[module for module in model.modules() if isinstance(module, nn.Linear)],
        )
        if self.importance == "taylor":
            assert task.calibration is not None
            for inputs, target in task.calibration:
                task.loss(task.predict(model, inputs), target).backward()
        while pruner.current_step < STEPS and macs(model, task.example_inputs) > most_macs:
            pruner.step()
        model.zero_grad(set_to_none=True)
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                module.weight.requires_grad_(False)  # the selections stay what they are
        if self.reestimate:
            assert task.calibration is not None
            with torch.no_grad():
                reestimate_batch_norm_(model, task.calibration)
        return model.eval()
