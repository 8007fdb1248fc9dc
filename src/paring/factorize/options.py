"""What stands in place of a layer, as operations for the clock; and the one way in which a rank is settled."""

from __future__ import annotations

from typing import Any

from torch import nn

from paring.clock.chain import Chain, Gather, Gemm
from paring.core.edit import Declined
from paring.core.task import batch_size_of
from paring.factorize.view import LowRankView, RankChoice, Ranks, cost_words, discarded_share
from paring.numerics.factor import Decomposition, full_rank


def settle(choice: RankChoice, view: LowRankView) -> Ranks | Declined:
    """The ranks that `choice` takes, or Declined where the factors would hold as many numbers as the dense layer."""
    ranks = choice.choose(view)
    if isinstance(ranks, Declined) or view.saves(ranks):
        return ranks
    return Declined(view.layer, cost_words(view, ranks))


def linear_view(
    layer: str, dense: nn.Linear, parts: Decomposition, shape: tuple[int, ...] | None, example_inputs: Any
) -> LowRankView:
    """A Linear that two Linears may replace."""
    num_out, num_in = dense.weight.shape
    has_bias = dense.bias is not None

    def option(ranks: Ranks) -> Chain:
        return Gemm(num_in, ranks[0], bias=False), Gemm(ranks[0], num_out, has_bias)

    return LowRankView(
        layer=layer,
        squares=(parts.squares_K,),
        shapes=((num_out, num_in),),
        limits=(full_rank(num_out, num_in),),
        dense=(Gemm(num_in, num_out, has_bias),),
        option=option,
        error=lambda ranks: discarded_share(parts.squares_K, ranks[0]),
        input_shape=shape,
        example_batch=batch_size_of(example_inputs),
    )


def embedding_view(
    layer: str, dense: nn.Embedding, parts: Decomposition, shape: tuple[int, ...] | None, example_inputs: Any
) -> LowRankView:
    """An Embedding that a thinner one and a Linear may replace."""
    num_rows, width = dense.weight.shape

    def option(ranks: Ranks) -> Chain:
        return Gather(num_rows, ranks[0]), Gemm(ranks[0], width, bias=False)

    return LowRankView(
        layer=layer,
        squares=(parts.squares_K,),
        shapes=((num_rows, width),),
        limits=(full_rank(num_rows, width),),
        dense=(Gather(num_rows, width),),
        option=option,
        error=lambda ranks: discarded_share(parts.squares_K, ranks[0]),
        input_shape=shape,
        example_batch=batch_size_of(example_inputs),
    )


def why_not_conv(dense: nn.Conv2d) -> str | None:
    """Why a convolution cannot be factorized, None if it can."""
    if dense.groups == 1:
        return None
    kind = "depthwise" if dense.groups == dense.in_channels else "grouped"
    return f"it is a {kind} convolution (groups {dense.groups}), whose channels hardly mix"
