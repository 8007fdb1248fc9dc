"""A layer as a rank choice sees it, and what a rank choice is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from paring.clock.chain import Chain, num_params
from paring.core.edit import Declined

Ranks = tuple[int, ...]


@dataclass(frozen=True)
class LowRankView:
    """One layer, ready to be cut: one mode for a matrix, two (out channels, in channels) for Tucker-2.

    `squares[m]` are squared singular values of mode m in the method's own norm, `shapes[m]` the matrix they belong to,
    `limits[m]` its full rank. `option(ranks)` are the operations that would stand in place of `dense`; `error(ranks)`
    is the share of the squared norm that is lost. `input_shape` is that of the layer's input for a batch of
    `example_batch`, None where the forward does not reach it.
    """

    layer: str
    squares: tuple[Tensor, ...]
    shapes: tuple[tuple[int, int], ...]
    limits: Ranks
    dense: Chain
    option: Callable[[Ranks], Chain]
    error: Callable[[Ranks], float]
    input_shape: tuple[int, ...] | None = None
    example_batch: int = 1

    def saves(self, ranks: Ranks) -> bool:
        """Whether the factors hold fewer numbers than the dense layer."""
        return num_params(self.option(ranks)) < num_params(self.dense)


class RankChoice(ABC):
    """Gives the rank of each mode of one layer, or says why the layer stays dense."""

    @abstractmethod
    def choose(self, view: LowRankView) -> Ranks | Declined:
        """The ranks, each in 1..its limit. Raises ShapeError where the choice does not fit the layer."""


def discarded_share(squares_K: Tensor, rank: int) -> float:
    """The share of these squared singular values that a rank leaves out; 0 for all zeros."""
    total = float(squares_K.sum())
    return float(squares_K[rank:].sum()) / total if total > 0 else 0.0


def cost_words(view: LowRankView, ranks: Ranks) -> str:
    """`rank 9 saves nothing on 8 x 64`, for `Declined`."""
    many = " and ".join(str(rank) for rank in ranks)
    shape = " x ".join(str(size) for size in view.shapes[0])
    held, dense = num_params(view.option(ranks)), num_params(view.dense)
    return f"rank {many} saves nothing on {shape}: {held} numbers, and the dense layer holds {dense}"
