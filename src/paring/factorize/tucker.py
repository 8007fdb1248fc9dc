"""Convolutions in fewer channels: Tucker-2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from paring.clock.chain import Chain, Conv
from paring.clock.layers import conv_of
from paring.core.edit import Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task, batch_size_of
from paring.errors import LayerError, UnknownNameError
from paring.factorize.calibrated import centred_moment, correct_bias_, no_signal
from paring.factorize.options import settle, why_not_conv
from paring.factorize.rank import Energy, RankChoice
from paring.factorize.view import LowRankView, Ranks
from paring.graph.capture import Sweep, input_moments, input_shapes
from paring.graph.edits.factorize_conv import FactorizeConv, LowRankConv2d
from paring.graph.targets import targets
from paring.numerics.factor import decompose, full_rank
from paring.numerics.hessian import Moments, whitening
from paring.numerics.tucker import Tucker2, hooi, hosvd, kernel_loss, unfoldings, whitened_in_squares, whitened_tucker

Method = Literal["whitened", "hooi", "hosvd"]


@final
@dataclass(frozen=True)
class Tucker(Pass):
    """Each Conv2d becomes 1x1 to fewer channels, its kernel between fewer channels, and 1x1 back (Kim et al. 2016).

    `method` "hosvd" takes the leading singular vectors of the kernel, "hooi" refines them alternately, "whitened" fits
    the layer's output on the calibration data, behind the already factorized layers, with the mean error in the bias.
    A mode that keeps all its channels gets no 1x1. A 1x1 convolution becomes two. Grouped and depthwise convolutions
    are declined.
    Raises: ForwardError for NaN in a layer's input, LayerError for NaN in a weight, ShapeError for a rank above both.
    Reference: Kim et al. 2016, arXiv:1511.06530; De Lathauwer et al. 2000, doi:10.1137/S0895479896305696.
    """

    name: ClassVar[str] = "factorize.tucker"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights cannot be factorized. Put factorize.tucker before the quantization.",
        "zeros": "the factors of a sparse kernel are dense, so its zeros would be lost. Put factorize.tucker first.",
    }

    rank: RankChoice = field(default_factory=lambda: Energy(0.9))
    method: Method = "whitened"
    bias_correction: bool = True

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UnknownNameError("method", self.method, get_args(Method), self.name)

    def requirements(self) -> frozenset[str]:
        """Calibration data for the whitened method, else nothing."""
        return self.needs if self.method == "whitened" else frozenset()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Yields one FactorizeConv a layer, or Declined where nothing is saved, measured faster or known."""
        names: list[str] = []
        for layer, dense in (yield from accepted(targets(self, model, (nn.Conv2d,)))):
            assert isinstance(dense, nn.Conv2d)
            if (reason := why_not_conv(dense)) is not None:
                yield self.decline(layer, reason)
            else:
                names.append(layer)
        shapes = input_shapes(model, names, task.example_inputs)
        sweep = None
        if self.method == "whitened" and names:
            assert task.calibration is not None
            sweep = Sweep(model, task.calibration, self.name)
            names = sweep.order(names)
        for done, layer in enumerate(names):
            yield Progress(done, len(names), f"factorizing {layer}")
            dense = model.get_submodule(layer)
            assert isinstance(dense, nn.Conv2d)
            moments = None if sweep is None else input_moments(sweep, layer, dense)
            yield from self._one(model, task, layer, dense, moments, shapes.get(layer))

    def _one(
        self,
        model: nn.Module,
        task: Task,
        layer: str,
        dense: nn.Conv2d,
        moments: Moments | None,
        shape: tuple[int, ...] | None,
    ) -> Iterator[Step]:
        centred = moments is not None and self.bias_correction and dense.bias is not None
        G_JJ = None
        if moments is not None:
            G_JJ = centred_moment(moments) if centred else moments.second_II
            if moments.count == 0 or not G_JJ.any():
                yield Declined(layer, no_signal(moments))
                return
        fits = _Fits(dense, G_JJ, self.method)
        try:
            view = fits.view(layer, shape, batch_size_of(task.example_inputs))
        except LayerError as error:
            raise LayerError(f"{self.name}: {layer}: {error}. Load a sound checkpoint.") from error
        ranks = settle(self.rank, view)
        if isinstance(ranks, Declined):
            yield ranks
            return
        found, W_OIHW = fits.at(ranks), dense.weight.detach()
        rank_out, rank_in = fits.kept(ranks)
        yield FactorizeConv(layer, rank_in, rank_out)
        convs = model.get_submodule(layer)
        assert isinstance(convs, LowRankConv2d)
        convs.set_(*_kernels(found, rank_out, rank_in))
        if centred:
            assert moments is not None
            correct_bias_(convs.last, W_OIHW, found.full(), moments.mean_I)


class _Fits:
    """Tucker-2 of one convolution at any ranks, each fitted once."""

    def __init__(self, dense: nn.Conv2d, G_JJ: Tensor | None, method: Method) -> None:
        self._dense, self._G_JJ, self._method = dense, G_JJ, method
        self._W_OIP = dense.weight.detach().flatten(2).double()
        self.at = cache(self._at)

    def kept(self, ranks: Ranks) -> tuple[int | None, int | None]:
        """(rank_out, rank_in), None for a mode that keeps all its channels."""
        O, I, _ = self._W_OIP.shape
        rank_out, rank_in = ranks[0], (ranks[1] if len(ranks) > 1 else I)
        return (None if rank_out >= O else rank_out), (None if rank_in >= I else rank_in)

    def view(self, layer: str, shape: tuple[int, ...] | None, batch: int) -> LowRankView:
        """The layer as a rank choice sees it: out channels, and in channels unless the kernel is 1 x 1."""
        O, I, P = self._W_OIP.shape
        over_out, over_in = unfoldings(self._W_OIP)
        if self._G_JJ is None:
            squares = [decompose(over_out).squares_K, decompose(over_in).squares_K]
        else:
            parts = decompose(over_out, whitening(self._G_JJ))
            squares = [parts.squares_K, whitened_in_squares(self._W_OIP, self._G_JJ)]
        shapes = [(O, I * P), (I, O * P)]
        modes = 1 if P == 1 else 2
        return LowRankView(
            layer=layer,
            squares=tuple(squares[:modes]),
            shapes=tuple(shapes[:modes]),
            limits=tuple(full_rank(*shape) for shape in shapes[:modes]),
            dense=(conv_of(self._dense, I, O, bias=self._dense.bias is not None),),
            option=self.option,
            error=self.error,
            input_shape=shape,
            example_batch=batch,
        )

    def option(self, ranks: Ranks) -> Chain:
        """The convolutions that these ranks give."""
        O, I, _ = self._W_OIP.shape
        rank_out, rank_in = self.kept(ranks)
        has_bias = self._dense.bias is not None
        core = conv_of(self._dense, rank_in or I, rank_out or O, bias=has_bias and rank_out is None)
        first = () if rank_in is None else (Conv(I, rank_in, (1, 1), bias=False),)
        last = () if rank_out is None else (Conv(rank_out, O, (1, 1), bias=has_bias),)
        return (*first, core, *last)

    def error(self, ranks: Ranks) -> float:
        """The share lost of the kernel's, or of the output's squared norm."""
        W_OIP, approx_OIP = self._W_OIP, self.at(ranks).full()
        if self._G_JJ is None:
            total, lost = float(W_OIP.square().sum()), float((W_OIP - approx_OIP).square().sum())
        else:
            lost = kernel_loss(W_OIP, approx_OIP, self._G_JJ)
            total = kernel_loss(W_OIP, torch.zeros_like(W_OIP), self._G_JJ)
        return lost / total if total > 0 else 0.0

    def _at(self, ranks: Ranks) -> Tucker2:
        W_OIP = self._W_OIP
        rank_out, rank_in = ranks[0], (ranks[1] if len(ranks) > 1 else W_OIP.shape[1])
        if self._G_JJ is not None:
            return whitened_tucker(W_OIP, self._G_JJ, rank_out, rank_in)
        return (hooi if self._method == "hooi" else hosvd)(W_OIP, rank_out, rank_in)


def _kernels(found: Tucker2, rank_out: int | None, rank_in: int | None) -> list[Tensor]:
    """One kernel a convolution; a factor of a mode that keeps all its channels is multiplied into the core."""
    core_RSP = found.core_RSP
    kernels = []
    if rank_in is None:
        core_RSP = torch.einsum("rsp,si->rip", core_RSP, found.in_SI)
    else:
        kernels.append(found.in_SI)
    if rank_out is None:
        return [*kernels, torch.einsum("or,rsp->osp", found.out_OR, core_RSP)]
    return [*kernels, core_RSP, found.out_OR]
