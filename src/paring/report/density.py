"""The shape of many timings as one smooth curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paring.report.scale import Axis

BINS, SPREAD = 240, 2.5  # bins along the axis, and the width of the smoothing in bins
SIZE = (1000, 100)  # the box that curves are drawn in


def density(values: NDArray[np.float64], along: Axis) -> NDArray[np.float64]:
    """How often values fall near each of BINS places along the axis, smoothed, the peak at 1; (BINS,)."""
    edges = np.geomspace(along.low, along.high, BINS + 1) if along.log else np.linspace(along.low, along.high, BINS + 1)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    reach = np.arange(-4 * int(SPREAD + 1), 4 * int(SPREAD + 1) + 1)
    kernel = np.exp(-0.5 * (reach / SPREAD) ** 2)
    smooth = np.convolve(counts, kernel, mode="same")
    peak = smooth.max()
    return smooth / peak if peak > 0 else smooth


def curve(heights: NDArray[np.float64]) -> str:
    """The path of such a curve in a box of SIZE, closed along the bottom; flat ends are left out."""
    width, height = SIZE
    there = np.flatnonzero(heights > 0.004)
    if not len(there):
        return ""
    first, last = int(there[0]), int(there[-1])
    step = width / len(heights)
    points = [
        f"{(index + 0.5) * step:.0f} {height - 96 * float(heights[index]):.1f}" for index in range(first, last + 1)
    ]
    return f"M{(first + 0.5) * step:.0f} {height}L" + "L".join(points) + f"L{(last + 0.5) * step:.0f} {height}Z"
