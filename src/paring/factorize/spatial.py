"""Convolutions as a column and a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import nn

from paring.clock.chain import Chain, Conv
from paring.clock.layers import conv_of
from paring.core.edit import Declined, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task, batch_size_of
from paring.errors import LayerError
from paring.factorize.options import settle, why_not_conv
from paring.factorize.rank import RankChoice, Ratio
from paring.factorize.view import LowRankView, Ranks, discarded_share
from paring.graph.capture import input_shapes
from paring.graph.edits.factorize_conv import FactorizeSpatial, LowRankConv2d
from paring.graph.targets import targets
from paring.numerics.factor import Decomposition, full_rank
from paring.numerics.tucker import spatial_kernels, spatial_parts


@final
@dataclass(frozen=True)
class Spatial(Pass):
    """Each k x k Conv2d becomes k x 1 to `rank` channels and 1 x k from them, optimal in the kernel's norm.

    Grouped and depthwise convolutions, and kernels of one row or column, are declined.
    Raises: ShapeError for a rank above full, LayerError for NaN in a weight.
    Reference: Jaderberg, Vedaldi & Zisserman 2014 (scheme 2), arXiv:1405.3866.
    """

    name: ClassVar[str] = "factorize.spatial"
    needs: ClassVar[frozenset[str]] = frozenset()
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be factorized. Put factorize.spatial before the quantization.",
        "zeros": "the factors of a sparse kernel are dense, so its zeros would be lost. Put factorize.spatial first.",
    }

    rank: RankChoice = field(default_factory=lambda: Ratio(0.5))

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one FactorizeSpatial a layer, or Declined where the rank saves nothing or the clock says no."""
        names: list[str] = []
        for layer, dense in (yield from accepted(targets(self, model, (nn.Conv2d,)))):
            assert isinstance(dense, nn.Conv2d)
            if (reason := _why_not(dense)) is not None:
                yield self.decline(layer, reason)
            else:
                names.append(layer)
        shapes = input_shapes(model, names, task.example_inputs)
        for layer in names:
            dense = model.get_submodule(layer)
            assert isinstance(dense, nn.Conv2d)
            W_OIHW = dense.weight.detach()
            try:
                parts = spatial_parts(W_OIHW)
            except LayerError as error:
                raise LayerError(f"{self.name}: {layer}: {error}. Load a sound checkpoint.") from error
            ranks = settle(self.rank, _view(layer, dense, parts, shapes.get(layer), batch_size_of(task.example_inputs)))
            if isinstance(ranks, Declined):
                yield ranks
                continue
            yield FactorizeSpatial(layer, ranks[0])
            convs = model.get_submodule(layer)
            assert isinstance(convs, LowRankConv2d)
            O, I, H, W = W_OIHW.shape
            convs.set_(*spatial_kernels(parts, ranks[0], (O, I, H, W)))


def _why_not(dense: nn.Conv2d) -> str | None:
    height, width = dense.kernel_size
    if min(height, width) == 1:
        return f"its kernel is {height} x {width}: there is nothing to split"
    return why_not_conv(dense)


def _view(layer: str, dense: nn.Conv2d, parts: Decomposition, shape: tuple[int, ...] | None, batch: int) -> LowRankView:
    O, I, H, W = dense.weight.shape
    own = conv_of(dense, I, O, bias=dense.bias is not None)
    top, left, bottom, right = own.padding

    def option(ranks: Ranks) -> Chain:
        column = Conv(I, ranks[0], (H, 1), (own.stride[0], 1), (top, 0, bottom, 0), (own.dilation[0], 1), bias=False)
        row = Conv(ranks[0], O, (1, W), (1, own.stride[1]), (0, left, 0, right), (1, own.dilation[1]), own.bias)
        return column, row

    return LowRankView(
        layer=layer,
        squares=(parts.squares_K,),
        shapes=((I * H, O * W),),
        limits=(full_rank(I * H, O * W),),
        dense=(own,),
        option=option,
        error=lambda ranks: discarded_share(parts.squares_K, ranks[0]),
        input_shape=shape,
        example_batch=batch,
    )
