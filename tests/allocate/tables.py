"""Tables of made-up options, and a correction of their times."""

from __future__ import annotations

import numpy as np

from paring.allocate.option import Option, Unit
from paring.allocate.table import KINDS, Entry
from paring.allocate.whole import Whole

SPEEDS = dict(zip(KINDS, (1.0, 0.5, 1.0, 1.0), strict=True))


def planted(num_units: int = 6, seed: int = 0) -> tuple[dict[Unit, list[Entry]], Whole]:
    rng = np.random.default_rng(seed)
    table = {}
    for place in range(num_units):
        options = [Option(), Option(precision="int8"), Option("width", 0.5), Option("width", 0.5, "int8")]
        loss = np.sort(rng.exponential(0.01, len(options))) * (np.arange(len(options)) > 0)
        table[Unit(f"u{place}", (f"u{place}",))] = [
            Entry(
                option,
                float(loss[row]),
                1000.0 / (1 + row),
                {"int8" if option.precision == "int8" else "float": 1.0 / (1 + row)},
                1,
            )
            for row, option in enumerate(options)
        ]
    weights = (0.5, *SPEEDS.values(), 0.0)
    return table, Whole(weights, (0.01, -0.01), 100.0, 0.5 + num_units, 100.0 + 1000 * num_units)
