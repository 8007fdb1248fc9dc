"""Counts of a chain against the modules it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paring.clock.chain import Chain, Conv, Gather, Gemm, macs, num_params
from paring.measure.macs import macs as measured_macs
from paring.measure.macs import num_params as params_of

CASES: list[tuple[Chain, nn.Module, torch.Tensor]] = [
    ((Gemm(6, 9),), nn.Linear(6, 9), torch.rand(2, 6)),
    ((Gemm(6, 2, False), Gemm(2, 9)), nn.Sequential(nn.Linear(6, 2, False), nn.Linear(2, 9)), torch.rand(2, 5, 6)),
    (
        (Conv(3, 8, (3, 5), (2, 1), (1, 2, 1, 2)),),
        nn.Conv2d(3, 8, (3, 5), (2, 1), (1, 2)),
        torch.rand(2, 3, 9, 8),
    ),
    (
        (Conv(3, 4, (3, 1), (1, 1), (0, 0, 0, 0), (2, 1), bias=False), Conv(4, 8, (1, 3))),
        nn.Sequential(nn.Conv2d(3, 4, (3, 1), dilation=(2, 1), bias=False), nn.Conv2d(4, 8, (1, 3))),
        torch.rand(2, 3, 9, 8),
    ),
    (
        (Gather(20, 4), Gemm(4, 12, False)),
        nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 12, False)),
        torch.randint(0, 20, (2, 5)),
    ),
]


@pytest.mark.parametrize(("chain", "module", "x"), CASES)
def test_counts_and_shapes_are_those_of_the_modules(chain: Chain, module: nn.Module, x: torch.Tensor) -> None:
    shape = tuple(x.shape)
    assert num_params(chain) == params_of(module)
    assert macs(chain, shape) == measured_macs(module, x) * len(x)  # the latter counts one example
    for op in chain:
        shape = op.output_shape(shape)
    assert shape == tuple(module(x).shape)
