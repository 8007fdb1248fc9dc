"""Outlying input features made smaller, and their weights larger."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.edit import Changed, Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError
from paring.graph.capture import Sweep
from paring.graph.chains import SharedInput, shared_inputs
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.edits.weight_only import ScaleInput
from paring.graph.sites import submodule
from paring.graph.targets import targets
from paring.graph.weight_only import Multiplier
from paring.numerics.quant import observe


@final
@dataclass(frozen=True)
class Smooth(Pass):
    """SmoothQuant: range moves from input features to their weights (Xiao et al. 2023, arXiv:2211.10438).

    `s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)` over all Linears that read the same tensor. A LayerNorm that feeds
    them alone takes `1 / s`; elsewhere a multiplication is put before each Linear if `insert` is set, else the layer is
    declined. The function stays the same; follow with `quantize.static`.
    """

    name: ClassVar[str] = "quantize.smooth"
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be rescaled. Put quantize.smooth before the quantization."
    }

    alpha: float = 0.5
    insert: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"{self.name}: alpha is {self.alpha}; it must lie in [0, 1].")

    @torch.no_grad()
    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Measures, rescales in place, and yields the insertions and the layers changed."""
        yield from unfuse_all(model)
        assert task.calibration is not None
        names = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear,))))]
        chosen = [one for one in shared_inputs(model, task.example_inputs) if set(one.layers) & set(names)]
        grouped = {name for one in chosen for name in one.layers}
        for name in names:
            if name not in grouped:
                yield Declined(name, "it is called more than once, or what it reads cannot be told from the trace")
        sweep = Sweep(model, task.calibration, self.name)
        changed: list[str] = []
        for count, one in enumerate(chosen, start=1):
            yield Progress(count, len(chosen), "smoothing")
            layers = tuple(name for name in one.layers if name in names)
            factor_I = self._factor(model, layers, sweep)
            norm = submodule(model, one.norm) if one.norm is not None and layers == one.layers else None
            if norm is None and not self.insert:
                for name in layers:
                    yield Declined(name, "no LayerNorm feeds it alone, and insert is off")
                continue
            changed += yield from _moved(model, SharedInput(layers, one.norm), norm, factor_I)
        if changed:
            yield Changed(tuple(changed))

    def _factor(self, model: nn.Module, layers: tuple[str, ...], sweep: Sweep) -> Tensor:
        weights = [submodule(model, name).weight for name in layers]
        weight_I = torch.stack([weight.abs().amax(0) for weight in weights if isinstance(weight, Tensor)]).amax(0)
        seen_I = torch.zeros_like(weight_I)

        def widen(x: Tensor) -> None:
            observe(x)
            torch.maximum(seen_I, x.flatten(0, -2).abs().amax(0), out=seen_I)

        sweep.inputs(sweep.order(list(layers))[0], widen)
        factor_I = seen_I.clamp_min(1e-5) ** self.alpha / weight_I.clamp_min(1e-5) ** (1 - self.alpha)
        alive = (seen_I > 0) & (weight_I > 0)
        return torch.where(alive, factor_I.clamp(1e-3, 1e3), torch.ones_like(factor_I))


def _moved(
    model: nn.Module, one: SharedInput, norm: nn.Module | None, factor_I: Tensor
) -> Generator[Step, None, list[str]]:
    for name in one.layers:
        weight = submodule(model, name).weight
        if not isinstance(weight, Tensor):
            raise LayerError(f"{name}: it has no weight.")
        weight *= factor_I
    if norm is not None:
        assert isinstance(norm, nn.LayerNorm)
        for part in (norm.weight, norm.bias):
            part.div_(factor_I)
        return [str(one.norm), *one.layers]
    for name in one.layers:
        yield ScaleInput(name)
        multiplier = submodule(model, f"{name}.0")
        assert isinstance(multiplier, Multiplier)
        multiplier.get_buffer("factor").copy_(1 / factor_I)
    return [f"{name}.1" for name in one.layers]
