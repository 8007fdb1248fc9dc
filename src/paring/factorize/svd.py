"""Low rank by plain singular value decomposition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Declined, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError
from paring.factorize.fisher import fisher_roots
from paring.factorize.options import linear_view, settle
from paring.factorize.rank import RankChoice, Ratio
from paring.graph.capture import input_shapes
from paring.graph.edits.factorize import Factorize, LowRankLinear
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.targets import targets
from paring.numerics.factor import decompose


@final
@dataclass(frozen=True)
class Svd(Pass):
    """Each Linear becomes two thinner ones, optimal in the weights' own norm (Eckart and Young 1936).

    With `fisher`, outputs that matter more for the loss on the calibration data weigh more (Hsu et al. 2022, FWSVD,
    arXiv:2207.00112). A rank at which the two factors hold as many numbers as the dense layer is declined.
    Raises: ShapeError for a rank above a layer's full rank, LayerError for NaN in a weight.
    """

    name: ClassVar[str] = "factorize.svd"
    needs: ClassVar[frozenset[str]] = frozenset()
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be factorized. Put factorize.svd before the quantization.",
        "zeros": "the factors of a sparse weight are dense, so its zeros would be lost. Put factorize.svd first.",
    }

    rank: RankChoice = field(default_factory=lambda: Ratio(0.5))
    fisher: bool = False

    def requirements(self) -> frozenset[str]:
        """Calibration data for the Fisher weights, else nothing."""
        return frozenset({"calibration"}) if self.fisher else self.needs

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one Factorize a layer, or Declined where the rank saves nothing or the clock says no."""
        yield from unfuse_all(model)
        layers = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear,))))]
        shapes = input_shapes(model, layers, task.example_inputs)
        roots = fisher_roots(model, layers, task, self.name) if self.fisher else {}
        for layer in layers:
            dense = model.get_submodule(layer)
            assert isinstance(dense, nn.Linear)
            try:
                parts = decompose(dense.weight.detach(), weight_O=roots.get(layer))
            except LayerError as error:
                raise LayerError(f"{self.name}: {layer}: {error}. Load a sound checkpoint.") from error
            view = linear_view(layer, dense, parts, shapes.get(layer), task.example_inputs)
            ranks = settle(self.rank, view)
            if isinstance(ranks, Declined):
                yield ranks
                continue
            yield Factorize(layer, ranks[0])
            factors = model.get_submodule(layer)
            assert isinstance(factors, LowRankLinear)
            factors.set_(*parts.cut(ranks[0]))
