"""What the data-aware methods share: which second moment they fit, and the bias that takes over the mean error."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paring.numerics.hessian import Moments


def centred_moment(moments: Moments) -> Tensor:
    """The covariance, exactly zero where it is nothing but rounding beside the mean."""
    covariance_II = moments.covariance_II
    noise = 1e-12 * float(moments.second_II.diagonal().max())
    return covariance_II if float(covariance_II.diagonal().max()) > noise else torch.zeros_like(covariance_II)


def damped(G_II: Tensor, damping: float) -> Tensor:
    """`G + damping * mean(diag G) * I`."""
    return G_II + damping * G_II.diagonal().mean() * torch.eye(len(G_II), dtype=G_II.dtype)


def no_signal(moments: Moments) -> str:
    """Why calibration says nothing about a layer."""
    return "no calibration batch reaches it" if moments.count == 0 else "its input is constant on the calibration data"


@torch.no_grad()
def correct_bias_(last: nn.Linear | nn.Conv2d, W: Tensor, approx: Tensor, mean_I: Tensor) -> None:
    """`b += (W - approx) E[x]`, in place: the mean error of the output goes into the bias.

    Args: W, approx: dense weight and what replaces it, (out, ...), flattened to (out, in).
    """
    assert last.bias is not None
    error_OI = W.double().flatten(1) - approx.double().flatten(1)
    last.bias.copy_((last.bias.double() + error_OI @ mean_I).to(last.bias.dtype))
