"""How many bits symbols take when each is coded by how often it occurs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def zero_order_bits(counts: Mapping[int, int]) -> float:
    """`n H(q)` of n symbols with these counts; what an arithmetic coder reaches within a few bits.

    Reference: Shannon 1948, A Mathematical Theory of Communication.
    Example: {0: 2, 1: 2} -> 4.0.
    """
    n = np.array([count for count in counts.values() if count > 0], np.float64)
    return float(-(n * np.log2(n / n.sum())).sum()) if len(n) else 0.0
