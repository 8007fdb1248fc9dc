"""Answers kept by what the arguments hold."""

from __future__ import annotations

import torch
from torch import Tensor

from paring.numerics.remembered import remembered


def test_what_was_asked_before_is_not_computed_again() -> None:
    asked: list[Tensor] = []

    @remembered(2)
    def doubled(x: Tensor, y: Tensor | None = None) -> Tensor:
        asked.append(x)
        return x * 2 if y is None else x * 2 + y

    x = torch.arange(4.0)
    doubled(x).zero_()  # a copy: the one kept is not touched
    assert doubled(x.clone()).tolist() == [0, 2, 4, 6] and len(asked) == 1
    x[0] = 5  # the same tensor, other contents
    assert doubled(x)[0] == 10 and len(asked) == 2
    assert doubled(x, torch.ones(4))[0] == 11 and len(asked) == 3
    doubled(torch.arange(4.0))  # the oldest of the three was dropped
    assert len(asked) == 4


def test_shape_and_type_tell_arguments_apart() -> None:
    count = 0

    @remembered(9)
    def numbered(x: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return torch.tensor(count)

    bits = torch.zeros(4)
    answers = [numbered(x) for x in (bits, bits.reshape(2, 2), bits.int(), bits.reshape(2, 2).T.contiguous()[:1])]
    assert [int(one) for one in answers] == [1, 2, 3, 4]
    assert int(numbered(torch.zeros(2, 2).T)) == 2
