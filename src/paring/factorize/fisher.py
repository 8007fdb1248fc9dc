"""How much each output of a layer counts for the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paring.core.task import Task
from paring.errors import MissingError


def fisher_roots(model: nn.Module, layers: list[str], task: Task, where: str) -> dict[str, Tensor]:
    """For each layer, the root of the summed squared gradients of each output's weights, (out,), mean 1, all above 0.

    Gradients are of the task's loss on each calibration batch (empirical Fisher information); the model is left as it
    was. Reference: Hsu et al. 2022 (FWSVD), arXiv:2207.00112.
    Raises: MissingError if the calibration batches carry no targets.
    """
    assert task.calibration is not None
    weights = {name: model.get_submodule(name).get_parameter("weight") for name in layers}
    asked = {name: weight.requires_grad for name, weight in weights.items()}
    sums = {name: torch.zeros(len(weight), dtype=torch.float64) for name, weight in weights.items()}
    was_training = model.training
    model.eval()
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        for inputs, target in task.calibration:
            if target is None:
                raise MissingError(f"{where}: fisher needs labelled calibration batches, and these have no targets.")
            with torch.enable_grad():
                loss = task.loss(task.predict(model, inputs), target)
                grads = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, grad in zip(weights, grads, strict=True):
                if grad is not None:
                    sums[name] += grad.double().square().flatten(1).sum(1)
    finally:
        model.train(was_training)
        for name, weight in weights.items():
            weight.requires_grad_(asked[name])
    return {name: _roots(total) for name, total in sums.items()}


def _roots(total_O: Tensor) -> Tensor:
    root_O = total_O.sqrt()
    if not root_O.any():
        return torch.ones_like(root_O)
    # A floor, because an output that never had a gradient on these batches is still an output.
    return (root_O / root_O.mean()).clamp(min=1e-3)
