"""After a cut: weights that make up for it by least squares, and batch norms that know the new statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paring.core.task import Batches, Task, call
from paring.graph.addends import Addends, added_to
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
    earlier ones lost. Where a residual connection adds to its answer it aims at the original's sum, so that it makes up
    for what the other branch lost as well. A mean that is left over goes into the bias, or into the running mean of the
    batch norm that follows. Two sweeps, so cost is linear in depth; memory is one layer's second moment.

    Args:
        kept: (tensor, dim) -> original indices left, for what was cut.
        norms: layer -> the batch norm that alone reads it.
    Reference: He, Zhang & Sun 2017, arXiv:1707.06168, sections 3.1 and 3.3 (residual branches).
    """
    assert task.calibration is not None
    before = Sweep(original, task.calibration, "reconstruction")
    after = Sweep(model, task.calibration, "reconstruction")
    ends = {layer: norms.get(layer, layer) for layer in layers}
    added = added_to(original, list(ends.values()), next(iter(task.calibration))[0])
    for layer in after.order([name for name in layers if after.reaches(name)]):
        module = model.get_submodule(layer)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        norm = model.get_submodule(norms[layer]) if layer in norms else None
        rows = kept.get((f"{layer}.weight", 0))
        rows_O = None if rows is None else torch.tensor(rows)
        free = module.bias is not None or norm is not None  # a constant can be taken care of
        fit = _Regression(module.weight[0].numel(), len(module.weight), centred=free)
        if ends[layer] in added:
            place = _Place(layer, ends[layer], added[ends[layer]])
            _fit_sums(model, after, place, _sums(original, before, place, rows_O), fit)
        else:
            targets: list[Tensor] = []
            before.inputs(layer, _answers(original.get_submodule(layer), targets, rows_O))
            after.inputs(layer, _pairs(module, targets, fit))
        Cxx_II, Cyx_OI = fit.moments()
        W_OI = ridge_update(module.weight.flatten(1).cpu(), Cxx_II, Cyx_OI, DAMPING)
        module.weight.copy_(W_OI.reshape(module.weight.shape))
        rest_O = fit.mean_O - W_OI @ fit.mean_I
        if module.bias is not None:
            module.bias.copy_(rest_O)
        elif norm is not None and isinstance(norm.running_mean, Tensor):
            norm.running_mean.sub_(rest_O.to(norm.running_mean))


@dataclass(frozen=True)
class _Place:
    """A layer, the module that ends its branch (a batch norm or itself), and the one whose forward adds to it."""

    layer: str
    end: str
    within: str


def _sums(original: nn.Module, sweep: Sweep, place: _Place, rows_O: Tensor | None) -> list[Tensor]:
    """Batch by batch what the residual connection holds once the layer's answer is added, (n, kept channels)."""
    sums: list[Tensor] = []
    entered: list[Tensor] = []  # empty while the sweep only looks for its blocks
    module = original.get_submodule(place.layer)

    def see(_name: str, answer: Tensor, other: Tensor) -> None:
        if not entered:
            return
        entered.clear()
        found = by_channel(module, answer + other)
        sums.append(found if rows_O is None else found[:, rows_O])

    with Addends(original, [place.end], see):
        sweep.inputs(place.layer, entered.append, through=place.within)
    return sums


def _fit_sums(model: nn.Module, sweep: Sweep, place: _Place, sums: list[Tensor], fit: _Regression) -> None:
    """Gathers the pairs with which the same sum is reached although the other branch has changed."""
    module, norm = model.get_submodule(place.layer), model.get_submodule(place.end)
    assert isinstance(module, nn.Linear | nn.Conv2d)
    entered: list[Tensor] = []

    def see(_name: str, answer: Tensor, other: Tensor) -> None:
        if not entered:
            return
        x = entered.pop()
        wanted = sums.pop(0) - by_channel(module, other)
        if norm is not module:
            wanted = _before_norm(norm, wanted, by_channel(module, module.forward(x)))
        _add_pairs(module, x, wanted, fit)

    def enter(x: Tensor) -> None:
        entered.append(x.clone())

    with Addends(model, [place.end], see):
        sweep.inputs(place.layer, enter, through=place.within)


def _before_norm(norm: nn.Module, wanted_NO: Tensor, now_NO: Tensor) -> Tensor:
    """What must enter a batch norm so that it answers as wanted; as it is now where its scale is next to nothing."""
    assert isinstance(norm, NORMS) and norm.running_mean is not None and norm.running_var is not None
    spread_O = (norm.running_var + norm.eps).sqrt()
    scale_O = torch.ones_like(spread_O) if norm.weight is None else norm.weight
    shift_O = torch.zeros_like(spread_O) if norm.bias is None else norm.bias
    alive_O = scale_O.abs() > 1e-3 * scale_O.abs().max()
    found_NO = (wanted_NO - shift_O) * (spread_O / torch.where(alive_O, scale_O, 1.0)) + norm.running_mean
    return torch.where(alive_O, found_NO, now_NO)


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


def _answers(layer: nn.Module, targets: list[Tensor], rows_O: Tensor | None) -> Callable[[Tensor], None]:
    def see(x: Tensor) -> None:
        found = by_channel(layer, layer.forward(x))
        targets.append(found if rows_O is None else found[:, rows_O])

    return see


def _pairs(module: nn.Linear | nn.Conv2d, targets: list[Tensor], fit: _Regression) -> Callable[[Tensor], None]:
    def see(x: Tensor) -> None:
        _add_pairs(module, x, targets.pop(0), fit)

    return see


def _add_pairs(module: nn.Linear | nn.Conv2d, x: Tensor, wanted_NO: Tensor, fit: _Regression) -> None:
    start = 0
    for part in unfolded(module, x):
        fit.add_(part, wanted_NO[start : start + len(part)])
        start += len(part)


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
