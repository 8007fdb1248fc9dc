"""What a sparse weight takes in storage: dense, as compressed sparse rows, and at its entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

VALUE_BYTES = INDEX_BYTES = 4


@final
@dataclass(frozen=True)
class Footprint:
    """Of one weight. `entropy_bytes` is the zero-order entropy: of where the zeros are plus the values whole for
    floats, of the symbols for integers."""

    total: int
    nonzeros: int
    dense_bytes: int
    csr_bytes: int
    entropy_bytes: int
    break_even: float

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return 1 - self.nonzeros / self.total if self.total else 0.0

    @property
    def factor(self) -> float:
        """Total over non-zeros: the factor that leaves the indices out."""
        return self.total / max(self.nonzeros, 1)


def footprint(weight: Tensor) -> Footprint:
    """The storage of a weight (O, ...) of any dtype, flattened to (O, I).

    CSR holds a value (of the weight's own width) and a 4-byte column for each non-zero, and O + 1 row starts: for
    32-bit values it is larger than dense below about half zeros, for 8-bit ones below four fifths. `break_even` is the
    sparsity where the two meet.
    Example: (10, 100) float32 with 90 % zeros -> dense 4000 bytes, CSR 100 * 8 + 44 = 844.
    """
    W_OI = weight.detach().reshape(len(weight), -1) if weight.dim() > 1 else weight.detach().reshape(1, -1)
    total, nonzeros = W_OI.numel(), int(torch.count_nonzero(W_OI))
    width = W_OI.element_size()
    starts = INDEX_BYTES * (len(W_OI) + 1)
    dense, per_value = total * width, width + INDEX_BYTES
    if W_OI.is_floating_point():
        coded = total * _entropy(torch.tensor([nonzeros, total - nonzeros])) / 8 + nonzeros * width
    else:
        coded = total * _entropy(torch.unique(W_OI, return_counts=True)[1]) / 8
    break_even = 1 - (dense - starts) / (total * per_value) if total else 0.0
    return Footprint(total, nonzeros, dense, nonzeros * per_value + starts, int(-(-coded // 1)), min(break_even, 1.0))


def _entropy(counts: Tensor) -> float:
    """Bits a symbol."""
    p = counts.double() / counts.sum().clamp_min(1)
    p = p[p > 0]
    return float(-(p * p.log2()).sum())
