"""After a cut: weights that make up for it by least squares, and batch norms that know the new statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from paring.core.task import Batches, Task, call
from paring.graph.capture import Sweep, unfolded
from paring.graph.readers import by_channel
from paring.numerics.units import ridge_update

DAMPING = 1e-3
CHUNK_ROWS = 8192
NORMS = nn.modules.batchnorm._NormBase

Kept = Mapping[tuple[str, int], tuple[int, ...]]


@torch.no_grad()
def reconstruct_(
    original: nn.Module, model: nn.Module, layers: Sequence[str], kept: Kept, norms: Mapping[str, str], task: Task
) -> None:
    """Gives each of `layers` the weights with which it answers most like `original`'s, on the calibration data.

    In the order of the forward, each behind the layers mended already, so that a layer also makes up for what the
    earlier ones lost. A mean that is left over goes into the bias, or into the running mean of the batch norm that
    follows. Two sweeps, so cost is linear in depth; memory is one layer's second moment.

    Args:
        kept: (tensor, dim) -> original indices left, for what was cut.
        norms: layer -> the batch norm that alone reads it.
    Reference: He, Zhang & Sun 2017, arXiv:1707.06168, section 3.1.
    """
    assert task.calibration is not None
    before = Sweep(original, task.calibration, "reconstruction")
    after = Sweep(model, task.calibration, "reconstruction")
    for layer in after.order([name for name in layers if after.reaches(name)]):
        module, old = model.get_submodule(layer), original.get_submodule(layer)
        assert isinstance(module, nn.Linear | nn.Conv2d) and isinstance(old, nn.Linear | nn.Conv2d)
        norm = model.get_submodule(norms[layer]) if layer in norms else None
        targets: list[Tensor] = []
        rows = kept.get((f"{layer}.weight", 0))
        before.inputs(layer, _answers(old, targets, None if rows is None else list(rows)))
        free = module.bias is not None or norm is not None  # a constant can be taken care of
        fit = _Regression(module.weight[0].numel(), len(module.weight), centred=free)
        after.inputs(layer, _pairs(module, targets, fit))
        Cxx_II, Cyx_OI = fit.moments()
        W_OI = ridge_update(module.weight.flatten(1).cpu(), Cxx_II, Cyx_OI, DAMPING)
        module.weight.copy_(W_OI.reshape(module.weight.shape))
        rest_O = fit.mean_O - W_OI @ fit.mean_I
        if module.bias is not None:
            module.bias.copy_(rest_O)
        elif norm is not None and isinstance(norm.running_mean, Tensor):
            norm.running_mean.sub_(rest_O.to(norm.running_mean))


class _Regression:
    """Second moments of x with x and of y with x, about their means if `centred`.

    Sums run about the means of the first rows: products in float32 would lose a spread that is small beside the mean.
    """

    def __init__(self, num_in: int, num_out: int, *, centred: bool) -> None:
        self._xx = torch.zeros(num_in, num_in, dtype=torch.float64)
        self._yx = torch.zeros(num_out, num_in, dtype=torch.float64)
        self._x, self._y = torch.zeros(num_in, dtype=torch.float64), torch.zeros(num_out, dtype=torch.float64)
        self._x0, self._y0 = self._x.float(), self._y.float()
        self._count, self._centred = 0, centred

    def add_(self, X_NI: Tensor, Y_NO: Tensor) -> None:
        if self._count == 0 and self._centred:
            self._x0, self._y0 = X_NI.mean(0), Y_NO.mean(0)
        for x, y in zip(torch.split(X_NI, CHUNK_ROWS), torch.split(Y_NO, CHUNK_ROWS), strict=True):
            x, y = x - self._x0.to(x), y - self._y0.to(y)
            self._xx += (x.T @ x).double().cpu()
            self._yx += (y.T @ x).double().cpu()
            self._x += x.sum(0, dtype=torch.float64).cpu()
            self._y += y.sum(0, dtype=torch.float64).cpu()
        self._count += len(X_NI)

    @property
    def mean_I(self) -> Tensor:
        return self._x0.double().cpu() + self._x / max(self._count, 1)

    @property
    def mean_O(self) -> Tensor:
        return self._y0.double().cpu() + self._y / max(self._count, 1)

    def moments(self) -> tuple[Tensor, Tensor]:
        """(x x^T, y x^T), averaged over rows."""
        n = max(self._count, 1)
        if not self._centred:
            return self._xx / n, self._yx / n
        return self._xx / n - torch.outer(self._x / n, self._x / n), self._yx / n - torch.outer(
            self._y / n, self._x / n
        )


def _answers(layer: nn.Module, targets: list[Tensor], rows: list[int] | None) -> Callable[[Tensor], None]:
    def see(x: Tensor) -> None:
        found = by_channel(layer, layer.forward(x))
        targets.append(found if rows is None else found[:, rows])

    return see


def _pairs(module: nn.Linear | nn.Conv2d, targets: list[Tensor], fit: _Regression) -> Callable[[Tensor], None]:
    def see(x: Tensor) -> None:
        wanted = targets.pop(0)
        start = 0
        for part in unfolded(module, x):
            fit.add_(part, wanted[start : start + len(part)])
            start += len(part)

    return see


@torch.no_grad()
def reestimate_batch_norm_(model: nn.Module, data: Batches) -> list[str]:
    """Running statistics as the plain mean over these batches; returns the batch norms, in `named_modules` order."""
    norms = {name: m for name, m in model.named_modules() if isinstance(m, NORMS) and m.running_mean is not None}
    if not norms:
        return []
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        for norm in norms.values():
            stack.callback(setattr, norm, "momentum", norm.momentum)
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for inputs, _ in data:
            call(model, inputs)
    return list(norms)
