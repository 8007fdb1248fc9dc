"""Second derivatives of the loss, for weights and for outputs, by exact Gauss-Newton passes over the calibration data.

For nets that are linear between their kinks (ReLU, max-pooling) the diagonal is the exact one of the Hessian: the net
is linear in the weights of one layer, so that the neglected term is zero.
Legend: B examples, C outputs, O out, I in, P positions of one example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.task import Task
from paring.errors import MissingError
from paring.graph.sites import submodule

MAX_COLUMNS = 16  # outputs beyond which random mixtures stand in for single outputs
CHUNK = 2**24  # numbers held at once


@torch.enable_grad()
def output_factors(task: Task, output: Tensor, target: Any) -> Iterator[Tensor]:
    """Tensors `s_c` shaped as `output` with `sum_c s_c s_c^T` = the loss's Hessian in the output, example by example.

    The loss must be a mean or a sum over examples. More than MAX_COLUMNS outputs are mixed by random signs, which
    leaves the sum right on average.
    """
    leaf = output.detach().float().requires_grad_()
    loss = task.loss(leaf, target)
    (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
    if not slope.requires_grad:  # a loss that is linear in the output
        return
    flat_BC = slope.reshape(len(slope), -1)
    rows = [
        torch.autograd.grad(flat_BC[:, c].sum(), leaf, retain_graph=True)[0].reshape(len(slope), -1)
        for c in range(flat_BC.shape[1])
    ]
    values_BC, vectors_BCC = torch.linalg.eigh(torch.stack(rows, 1).double())
    factors_BCC = vectors_BCC * values_BC.clamp_min(0).sqrt()[:, None, :]
    if factors_BCC.shape[2] > MAX_COLUMNS:
        generator = torch.Generator().manual_seed(task.seed)
        signs = torch.randint(0, 2, (factors_BCC.shape[2], MAX_COLUMNS), generator=generator) * 2.0 - 1
        factors_BCC = factors_BCC @ (signs.to(factors_BCC) / MAX_COLUMNS**0.5)
    for factor_BC in factors_BCC.unbind(2):
        yield factor_BC.reshape(output.shape).to(output.dtype)


def hessian_diagonals(model: nn.Module, layers: list[str], task: Task, where: str) -> dict[str, Tensor]:
    """Layer -> second derivative of the mean loss for each weight, float64, over the calibration data.

    Raises: MissingError without calibration data.
    """
    found = {name: torch.zeros(_weight(model, name).shape, dtype=torch.float64) for name in layers}

    def add(name: str, x: Tensor, slope: Tensor) -> None:
        found[name] += squared_gradients(submodule(model, name), x, slope).cpu()

    batches = _backward(model, layers, task, where, add)
    return {name: total / batches for name, total in found.items()}


def output_curvature(model: nn.Module, layers: list[str], task: Task, where: str) -> dict[str, Tensor]:
    """Layer -> how much a squared error of each output counts for the mean loss, (out,), float64.

    Errors at different positions count as independent (Martens & Grosse 2015, arXiv:1503.05671). An embedding's
    outputs are its dimensions.
    """
    found = {name: torch.zeros(_num_out(submodule(model, name)), dtype=torch.float64) for name in layers}

    def add(name: str, x: Tensor, slope: Tensor) -> None:
        channel = 1 if isinstance(submodule(model, name), nn.modules.conv._ConvNd) else -1
        found[name] += (slope.double() ** 2).movedim(channel, 0).flatten(1).sum(1).cpu()

    batches = _backward(model, layers, task, where, add)
    return {name: total / batches for name, total in found.items()}


def _num_out(layer: nn.Module) -> int:
    return layer.embedding_dim if isinstance(layer, nn.Embedding) else len(layer.get_parameter("weight"))


def _backward(
    model: nn.Module, layers: list[str], task: Task, where: str, add: Callable[[str, Tensor, Tensor], None]
) -> int:
    """Runs every factor of every batch back through the model; `add` sees what entered a layer and the slope behind."""
    if task.calibration is None:
        raise MissingError(f"{where}: needs task.calibration, and the task has none. Give Task(calibration=...).")
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    batches = 0
    with ExitStack() as stack, torch.enable_grad():
        stack.callback(model.train, model.training)
        stack.callback(lambda: [p.requires_grad_(False) for p in frozen])
        model.eval()
        for parameter in frozen:
            parameter.requires_grad_(True)
        calls: list[tuple[str, Tensor, Tensor]] = []
        for name in layers:

            def see(_module: nn.Module, args: Any, answer: Tensor, name: str = name) -> None:
                calls.append((name, args[0].detach(), answer))

            stack.callback(submodule(model, name).register_forward_hook(see).remove)
        for inputs, target in task.calibration:
            calls.clear()
            output = task.predict(model, inputs)
            for factor in output_factors(task, output, target):
                answers = [answer for _, _, answer in calls]
                slopes = torch.autograd.grad(output, answers, factor, retain_graph=True, allow_unused=True)
                for (name, x, _), slope in zip(calls, slopes, strict=True):
                    if slope is not None:
                        add(name, x, slope)
            batches += 1
    return max(batches, 1)


def squared_gradients(layer: nn.Module, x: Tensor, slope: Tensor) -> Tensor:
    """Sum over examples of the squared gradient of each weight, shape of the weight, float64.

    Args: x: what entered; slope: gradient at what left. Linear (B, ..., I) and (B, ..., O), convolution (B, C, ...).
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    total = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
    if isinstance(layer, nn.Linear) and x.ndim == 2:
        return total + slope.double().T.square() @ x.double().square()
    at_once = max(1, CHUNK // weight.numel())
    for x_part, slope_part in zip(torch.split(x, at_once), torch.split(slope, at_once), strict=True):
        if isinstance(layer, nn.Linear):
            a_BPI, d_BPO = x_part.flatten(1, -2), slope_part.flatten(1, -2)
            total += (d_BPO.transpose(1, 2) @ a_BPI).double().square().sum(0)
        else:
            total += _convolved(layer, x_part, slope_part).double().square().sum(0)
    return total


def _convolved(layer: nn.Module, x: Tensor, slope: Tensor) -> Tensor:
    """The gradient of a convolution's weight for each example, (B, *weight)."""
    assert isinstance(layer, nn.modules.conv._ConvNd)

    def answer(weight: Tensor, one: Tensor) -> Tensor:
        return layer._conv_forward(one[None], weight, None)[0]

    def slope_of(one: Tensor, back: Tensor) -> Tensor:
        pulled: Tensor = torch.func.vjp(lambda weight: answer(weight, one), layer.weight.detach())[1](back)[0]
        return pulled

    per_example: Tensor = torch.func.vmap(slope_of)(x, slope)
    return per_example


def _weight(model: nn.Module, name: str) -> Tensor:
    weight = submodule(model, name).weight
    assert isinstance(weight, Tensor)
    return weight
