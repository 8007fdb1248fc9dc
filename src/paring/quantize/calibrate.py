"""What flows into layers and operations over the calibration data, as ranges."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sized
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.edit import Progress
from paring.core.task import Task, call
from paring.errors import BatchError, ForwardError, LayerError
from paring.graph.operands import Operands, watched
from paring.graph.sites import submodule
from paring.numerics.histogram import Histogram
from paring.numerics.quant import Range, observe
from paring.quantize.observers import Observer


@dataclass(frozen=True)
class Site:
    """One thing to be rounded: what enters `module`, or an operand of the `position`-th operation of its forward."""

    module: str
    position: int | None = None
    operand: int = 0

    def __str__(self) -> str:
        where = "its input" if self.position is None else f"operand {self.operand} of its operation {self.position}"
        return f"{self.module or 'the model itself'}: {where}"


Ranges = dict[Site, Range]


def calibrated(
    model: nn.Module, sites: Iterable[Site], task: Task, observer: Observer, where: str
) -> Generator[Progress, None, Ranges]:
    """The range that `observer` chooses for every site; empty for a site that no batch reached.

    Raises: BatchError for no batches, ForwardError naming the site where NaN or infinity was met.
    """
    ranges: Ranges = dict.fromkeys(sites, Range())

    def widen(site: Site, x: Tensor) -> None:
        ranges[site] = ranges[site].merge(observe(x))

    yield from _watch(model, ranges, widen, task, where, "calibrating ranges")
    if not observer.needs_histogram:
        return ranges
    histograms = {site: Histogram(seen) for site, seen in ranges.items()}
    yield from _watch(model, ranges, lambda site, x: histograms[site].add_(x), task, where, "calibrating distributions")
    return {site: observer.range_of(histogram) for site, histogram in histograms.items()}


@torch.no_grad()
def _watch(
    model: nn.Module, sites: Iterable[Site], visit: Callable[[Site, Tensor], None], task: Task, where: str, text: str
) -> Generator[Progress, None, None]:
    assert task.calibration is not None

    def checked(site: Site, x: Tensor) -> None:
        try:
            visit(site, x)
        except LayerError as error:
            raise ForwardError(
                f"{where}: {site.module or 'the model itself'}: {error} in its input on the calibration data. "
                "Clean the data, or check the weights."
            ) from error

    total = len(task.calibration) if isinstance(task.calibration, Sized) else 0
    was_training, count = model.training, 0
    with ExitStack() as stack:
        stack.callback(model.train, was_training)
        model.eval()
        operations: dict[str, dict[int, dict[int, Site]]] = {}
        for site in sites:
            if site.position is None:
                hook = partial(_see_input, site, checked)
                handle = submodule(model, site.module).register_forward_pre_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
            else:
                operations.setdefault(site.module, {}).setdefault(site.position, {})[site.operand] = site
        for name, known in operations.items():
            stack.enter_context(
                watched(submodule(model, name), partial(Operands, partial(_see_operand, known, checked)))
            )
        for count, (inputs, _) in enumerate(task.calibration, start=1):
            call(model, inputs)
            yield Progress(count, max(total, count), text)
    if count == 0:
        raise BatchError(f"{where}: task.calibration holds no batch; give at least one.")


def _see_input(
    site: Site, visit: Callable[[Site, Tensor], None], _module: nn.Module, args: Any, kwargs: Mapping[str, Any]
) -> None:
    found = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point())
    if (x := next(found, None)) is not None:
        visit(site, x)


def _see_operand(
    known: Mapping[int, Mapping[int, Site]], visit: Callable[[Site, Tensor], None], position: int, side: int, x: Tensor
) -> Tensor:
    if position in known and side in known[position]:
        visit(known[position][side], x)
    return x
