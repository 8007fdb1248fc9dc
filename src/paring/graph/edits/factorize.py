"""A Linear as two thinner ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import ShapeError
from paring.graph.sites import replace, submodule


class LowRankLinear(nn.Sequential):
    """`x -> A (B x) + bias`: child 0 is B, (rank, in) without bias, child 1 is A, (out, rank).

    Both are ordinary Linears, so that whatever comes later finds and treats them.
    """

    def __init__(self, first: nn.Linear, second: nn.Linear) -> None:
        super().__init__(first, second)

    @property
    def in_features(self) -> int:
        """As of the first factor."""
        return self._factors()[0].in_features

    @property
    def out_features(self) -> int:
        """As of the second factor."""
        return self._factors()[1].out_features

    def set_(self, A_OR: Tensor, B_RI: Tensor) -> None:
        """Puts the factors in, (out, rank) and (rank, in)."""
        first, second = self._factors()
        first.weight.data.copy_(B_RI)
        second.weight.data.copy_(A_OR)

    def _factors(self) -> tuple[nn.Linear, nn.Linear]:
        first, second = self
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        return first, second


@final
@dataclass(frozen=True)
class Factorize(Edit):
    """Replaces Linear `layer` by a LowRankLinear of this rank; the bias moves to the second factor."""

    layer: str
    rank: int

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`. Raises ShapeError if `layer` is no Linear."""
        dense = submodule(model, self.layer)
        if not isinstance(dense, nn.Linear):
            raise ShapeError(f"Factorize: {self.layer} is a {type(dense).__name__}; only a Linear can be factorized.")
        device, dtype = dense.weight.device, dense.weight.dtype
        first = nn.Linear(dense.in_features, self.rank, bias=False, device=device, dtype=dtype)
        second = nn.Linear(self.rank, dense.out_features, bias=dense.bias is not None, device=device, dtype=dtype)
        second.bias = dense.bias
        return replace(model, self.layer, LowRankLinear(first, second).train(dense.training))
