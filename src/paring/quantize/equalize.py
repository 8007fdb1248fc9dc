"""Weight ranges evened out across neighbouring layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.edit import Changed, Declined, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import SettingError
from paring.graph.chains import channel_pairs
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.folding import folds
from paring.graph.targets import targets
from paring.numerics.quant import spread


@final
@dataclass(frozen=True)
class Equalize(Pass):
    """Cross-layer equalization: moves a factor per channel between layers so that both use their integers evenly.

    Where only a ReLU (or a pooling) stands between two layers, `s = sqrt(r1 / r2)` of the ranges of each channel is
    taken from one and given to the other; the function stays the same. Batch norms are folded first. It pays where
    weights share a scale: `static(per_channel=False)`, depthwise convolutions.
    Reference: Nagel et al. 2019, arXiv:1906.04721, section 4.1.
    """

    name: ClassVar[str] = "quantize.equalize"
    needs: ClassVar[frozenset[str]] = frozenset()
    structural: ClassVar[bool] = False
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be rescaled. Put quantize.equalize before the quantization."
    }

    sweeps: int = 10

    def __post_init__(self) -> None:
        if self.sweeps < 1:
            raise SettingError(f"{self.name}: sweeps is {self.sweeps}; it must be at least 1.")

    @torch.no_grad()
    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Folds, rescales in place, and yields the layers that changed; a layer in no pair is declined."""
        yield from unfuse_all(model)
        yield from folds(model, task.example_inputs, self.selects)
        names = [found.layer if isinstance(found, Declined) else found[0] for found in targets(self, model, KINDS)]
        pairs = [pair for pair in channel_pairs(model, task.example_inputs) if set(pair) <= set(names)]
        for _ in range(self.sweeps):
            for first, second in pairs:
                move_ranges(model.get_submodule(first), model.get_submodule(second))
        changed = dict.fromkeys(name for pair in pairs for name in pair)
        for name in names:
            if name not in changed:
                yield Declined(name, "no neighbour that it alone feeds or reads through a ReLU")
        if changed:
            yield Changed(tuple(changed))


KINDS = (nn.Linear, nn.Conv2d)


def move_ranges(first: nn.Module, second: nn.Module) -> None:
    """Evens the ranges of the channels between two layers, in place. A channel that is zero on one side stays."""
    one, two = first.weight, second.weight
    assert isinstance(one, Tensor) and isinstance(two, Tensor)
    depthwise = isinstance(second, nn.Conv2d) and second.groups > 1
    reading = two if depthwise else two.transpose(0, 1)
    made_C, read_C = one.flatten(1).abs().amax(1), reading.flatten(1).abs().amax(1)
    factor_C = torch.where((made_C > 0) & (read_C > 0), (made_C / read_C).sqrt(), 1.0).clamp(1e-4, 1e4)
    one /= spread(factor_C, one)
    if isinstance(first.bias, Tensor):
        first.bias /= factor_C
    reading *= spread(factor_C, reading)
