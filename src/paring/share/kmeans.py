"""Weight sharing: the weights of a layer are a few values, which go on learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, SettingError, UnknownNameError
from paring.graph.edits.share import Codes, ShareWeight, shared_layer
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.folding import folds
from paring.graph.shared import Codebook
from paring.graph.targets import targets
from paring.numerics.clustering import Initialization, kmeans_line, nearest_centre


@final
@dataclass(frozen=True, kw_only=True)
class Kmeans(Pass):
    """Clusters each layer's weights into shared values (Deep Compression, Han et al. 2016, arXiv:1510.00149).

    Zeros, as pruning leaves them, stay zero and are a value of their own. The values are parameters: a `finetune`
    behind trains them, each by the sum of the gradients of its weights. Biases are clustered too unless `share_bias` is
    false. Batch norms are folded first. For `paring pack`, which codes the indices; engines unfold them into ordinary
    weights when they load the file.
    """

    name: ClassVar[str] = "share.kmeans"
    needs: ClassVar[frozenset[str]] = frozenset()
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    lets_follow: ClassVar[frozenset[str]] = frozenset({"finetune"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    num_values: int = 32
    initialization: Initialization = "linear"
    share_bias: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.num_values, bool) or not 2 <= self.num_values <= 256:
            raise SettingError(f"{self.name}: num_values is {self.num_values}; it must be a whole number, 2 to 256.")
        if self.initialization not in get_args(Initialization):
            raise UnknownNameError("initialization", self.initialization, get_args(Initialization), self.name)

    @torch.no_grad()
    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`. Raises LayerError for NaN in a weight."""
        yield from unfuse_all(model)
        yield from folds(model, task.example_inputs, self.selects)
        for name, layer in (yield from accepted(targets(self, model, (nn.Linear, nn.Conv2d)))):
            assert isinstance(layer, nn.Linear | nn.Conv2d)
            if not torch.isfinite(layer.weight).all():
                raise LayerError(f"{self.name}: {name}: the weight holds NaN or infinity. Load a sound checkpoint.")
            weight, bias = layer.weight.detach().clone(), None
            if layer.bias is not None and self.share_bias:
                bias = layer.bias.detach().clone()
            values, form = self.shared(weight)
            bias_values, bias_form = (None, None) if bias is None else self.shared(bias)
            yield ShareWeight(name, form, bias_form)
            new = shared_layer(model, name)
            _put(new.shared, weight, values)
            if bias is not None and bias_values is not None:
                _put(new.shared_bias, bias, bias_values)

    def shared(self, weight: Tensor) -> tuple[Tensor, Codes]:
        """(values in ascending order, how they are coded): zero among them if the weight has zeros."""
        rest = weight[weight != 0]
        zero = rest.numel() < weight.numel()
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        values = rest.new_zeros(0)
        if rest.numel():
            values = kmeans_line(rest, self.num_values - zero, initialization=self.initialization, generator=generator)
        if zero:
            values = torch.cat((values, values.new_zeros(1))).sort().values
        origin = int(torch.searchsorted(values, 0.0)) if zero else len(values) // 2
        return values, Codes(len(values), origin, zero)


def _put(part: nn.Module | None, weight: Tensor, values: Tensor) -> None:
    assert isinstance(part, Codebook)
    place = nearest_centre(weight, values)
    if part.zero:
        # Only what was zero is: a small weight goes to the nearest of the others.
        others = torch.cat((values[: part.origin], values[part.origin + 1 :]))
        if len(others):
            near = nearest_centre(weight, others)
            place = torch.where(weight == 0, part.origin, near + (near >= part.origin))
    part.set_(place, values)
