"""A layer as the clock sees it: one operation, or the two or three that would stand in its place."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import final


@final
@dataclass(frozen=True)
class Gemm:
    """A Linear: (..., num_in) to (..., num_out)."""

    num_in: int
    num_out: int
    bias: bool = True

    @property
    def num_params(self) -> int:
        return self.num_out * (self.num_in + self.bias)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], self.num_out)

    def macs(self, shape: tuple[int, ...]) -> int:
        return prod(self.output_shape(shape)) * self.num_in


@final
@dataclass(frozen=True)
class Conv:
    """A Conv2d without groups: (b, num_in, h, w) to (b, num_out, h', w'). `padding` is (top, left, bottom, right)."""

    num_in: int
    num_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    bias: bool = True

    @property
    def num_params(self) -> int:
        return self.num_out * (self.num_in * prod(self.kernel) + self.bias)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        sides = (
            (
                shape[2 + axis]
                + self.padding[axis]
                + self.padding[axis + 2]
                - self.dilation[axis] * (self.kernel[axis] - 1)
                - 1
            )
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        )
        return (shape[0], self.num_out, *sides)

    def macs(self, shape: tuple[int, ...]) -> int:
        return prod(self.output_shape(shape)) * self.num_in * prod(self.kernel)


@final
@dataclass(frozen=True)
class Gather:
    """An Embedding: integers (...) to (..., width)."""

    num_rows: int
    width: int

    @property
    def num_params(self) -> int:
        return self.num_rows * self.width

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape, self.width)

    def macs(self, shape: tuple[int, ...]) -> int:
        return 0


Op = Gemm | Conv | Gather
Chain = tuple[Op, ...]


def num_params(chain: Chain) -> int:
    """Numbers that the operations hold."""
    return sum(op.num_params for op in chain)


def macs(chain: Chain, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one call on an input of this shape."""
    total = 0
    for op in chain:
        total += op.macs(shape)
        shape = op.output_shape(shape)
    return total


def num_outputs(chain: Chain, shape: tuple[int, ...]) -> int:
    """Numbers that one call on an input of this shape gives."""
    for op in chain:
        shape = op.output_shape(shape)
    return prod(shape)


def scaled(shape: tuple[int, ...], batch_size: int, example_batch: int) -> tuple[int, ...]:
    """The layer's input shape at another batch size; its first dimension counts examples, or examples times steps."""
    return (max(1, shape[0] * batch_size // example_batch), *shape[1:])
