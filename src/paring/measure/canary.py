"""A fixed kernel timed beside the files: if its own speed changes during a run, the machine changed, not the file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paring.measure.samples import Samples

CANARY = "canary"
DRIFT = 0.10  # a change of the canary's speed that is worth a warning
PARTS = 4
SIZE = 64  # OpenBLAS keeps a 64 x 64 product on one thread


def canary() -> Callable[[], object]:
    """A call of some tens of microseconds that always does the same work: two 64 x 64 products, float32."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(SIZE, SIZE)).astype(np.float32) for _ in range(2))
    out = np.empty_like(a)

    def sing() -> object:
        np.matmul(a, b, out=out)
        return np.matmul(b, a, out=out)

    return sing


def drift(samples: Samples, name: str = CANARY) -> float:
    """How much slower the slowest quarter of the run was than the fastest, by the canary: 0.1 is 10 %."""
    blocks = samples.blocks(name)
    quarters = [float(np.median(part)) for part in np.array_split(blocks, min(PARTS, len(blocks)))]
    return max(quarters) / min(quarters) - 1
