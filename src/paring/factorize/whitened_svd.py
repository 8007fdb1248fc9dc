"""Low rank that is optimal for the calibration inputs, not for the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import nn

from paring.core.edit import Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError
from paring.factorize.calibrated import centred_moment, correct_bias_, damped, no_signal
from paring.factorize.fisher import fisher_roots
from paring.factorize.options import linear_view, settle
from paring.factorize.rank import RankChoice, Ratio
from paring.graph.capture import Sweep, input_moments, input_shapes
from paring.graph.edits.factorize import Factorize, LowRankLinear
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.targets import targets
from paring.numerics.factor import decompose
from paring.numerics.hessian import whitening


@final
@dataclass(frozen=True)
class WhitenedSvd(Pass):
    """Each Linear becomes two thinner ones with the least squared error of its *output* on the calibration data.

    Layer by layer in the order of the forward, each behind the already factorized ones. With `G = E[x x^T] = L L^T` the
    factors come from the SVD of `W L`; the error is the sum of the discarded squared singular values. With
    `bias_correction`, a layer's bias takes over the mean of the error and G is the covariance, which is optimal for
    factors and bias together. `damping` adds that fraction of `mean(diag G)` to G's diagonal: with few samples, a
    little keeps directions that they did not take. `fisher` weighs outputs by their effect on the loss.
    Raises: ForwardError for NaN in a layer's input, LayerError for NaN in a weight, BatchError for no calibration.
    Reference: Chen et al. 2021 (DRONE, NeurIPS); Wang et al. 2024 (SVD-LLM), arXiv:2403.07378.
    """

    name: ClassVar[str] = "factorize.whitened_svd"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be factorized. Put factorize.whitened_svd before the quantization.",
        "zeros": "the factors of a sparse weight are dense, so its zeros would be lost. Put the factorization first.",
    }

    rank: RankChoice = field(default_factory=lambda: Ratio(0.5))
    bias_correction: bool = True
    damping: float = 0.0
    fisher: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.damping <= 1:
            raise SettingError(f"{self.name}: damping is {self.damping}; it must lie in [0, 1].")

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one Factorize a layer, or Declined where nothing is saved, measured faster or known of its input."""
        yield from unfuse_all(model)
        assert task.calibration is not None
        names = [name for name, _ in (yield from accepted(targets(self, model, (nn.Linear,))))]
        sweep = Sweep(model, task.calibration, self.name)
        shapes = input_shapes(model, names, task.example_inputs)
        roots = fisher_roots(model, names, task, self.name) if self.fisher else {}
        for done, layer in enumerate(sweep.order(names)):
            yield Progress(done, len(names), f"second moments of {layer}")
            dense = model.get_submodule(layer)
            assert isinstance(dense, nn.Linear)
            moments = input_moments(sweep, layer, dense)
            centred = self.bias_correction and dense.bias is not None
            G_II = damped(centred_moment(moments) if centred else moments.second_II, self.damping)
            if moments.count == 0 or not G_II.any():
                yield Declined(layer, no_signal(moments))
                continue
            W_OI = dense.weight.detach()
            try:
                parts = decompose(W_OI, whitening(G_II), roots.get(layer))
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
            if centred:
                first, second = factors
                assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
                correct_bias_(second, W_OI, second.weight.double() @ first.weight.double(), moments.mean_I)
