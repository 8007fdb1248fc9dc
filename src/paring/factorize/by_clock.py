"""The rank chosen by measured time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import final

from paring.clock.chain import macs, num_params, scaled
from paring.clock.table import Timing, timings
from paring.core.edit import Declined
from paring.core.target import Target
from paring.errors import SettingError
from paring.factorize.view import LowRankView, RankChoice, Ranks, discarded_share

CANDIDATES = 4
ALLOWANCES = (2.0, 1.0, 0.5, 0.25, 0.1)  # discarded shares only bound the error of a two-mode cut


@final
@dataclass(frozen=True)
class ByClock(RankChoice):
    """The rank that is measured fastest among those that lose at most `max_error`, or dense if none is faster.

    `max_error` is the share of the squared norm that the method minimises: of the weight for plain methods, of the
    layer's output on the calibration data for whitened ones. Each candidate is timed against the dense layer in
    `target`, interleaved, once a machine; then kept in a table. Among ranks that the clock cannot tell apart, the
    largest is taken. `int8` times the quantized forms, for recipes that quantize afterwards. With `or_smaller`, a
    factorization that is no slower and holds fewer numbers is taken too.
    """

    max_error: float
    target: Target = field(default_factory=Target)
    int8: bool = False
    or_smaller: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_error < 1:
            raise SettingError(f"max_error is {self.max_error}; it must lie in (0, 1): the share of energy to lose.")

    def choose(self, view: LowRankView) -> Ranks | Declined:
        """See `RankChoice`; declined, with the times, where no candidate is measured faster."""
        if view.input_shape is None:
            return Declined(view.layer, "the forward does not reach it, so that it cannot be timed")
        shape = scaled(view.input_shape, self.target.batch_size, view.example_batch)
        ranks = self.candidates(view, shape)
        if not ranks:
            return Declined(view.layer, f"no rank below the dense layer's size keeps the error within {self.max_error}")
        chains = {option: view.option(option) for option in ranks}
        timed = timings(view.dense, list(chains.values()), shape, self.target, int8=self.int8)
        by_rank = {option: timed[chain] for option, chain in chains.items()}
        fit = [option for option in ranks if self._accepts(by_rank[option])]
        if not fit:
            return Declined(view.layer, self._reason(by_rank))
        best = min(fit, key=lambda option: by_rank[option].speedup.ratio * -1)
        close = [option for option in fit if by_rank[option].speedup.high >= by_rank[best].speedup.ratio]
        return max(close, key=lambda option: (num_params(chains[option]), option))

    def candidates(self, view: LowRankView, shape: tuple[int, ...]) -> list[Ranks]:
        """A few of the cheapest ranks within the error, rounded up to what kernels like, cheapest first."""
        for allowance in ALLOWANCES:
            found = sorted(
                {ranks for ranks in _within(view, self.max_error * allowance) if view.saves(ranks)},
                key=lambda ranks: (macs(view.option(ranks), shape), ranks),
            )
            fit = [ranks for ranks in found[:CANDIDATES] if view.error(ranks) <= self.max_error]
            if fit:
                return fit
        return []

    def _accepts(self, timing: Timing) -> bool:
        return timing.verdict == "faster" or (self.or_smaller and timing.verdict != "slower")

    def _reason(self, timed: dict[Ranks, Timing]) -> str:
        ranks, best = max(timed.items(), key=lambda pair: pair[1].speedup.ratio)
        many = " and ".join(str(rank) for rank in ranks)
        return (
            f"not measured faster in {self.target}: rank {many} takes {best.option_ms:.4g} ms and the dense layer "
            f"{best.dense_ms:.4g} ms ({best.verdict})"
        )


def _within(view: LowRankView, error: float) -> Iterator[Ranks]:
    """Ranks on a grid whose discarded shares add up to at most `error`, the last mode as narrow as that allows."""
    grids = [_grid(limit) for limit in view.limits]
    *leading, last = range(len(view.limits))
    for ranks in product(*(grids[mode] for mode in leading)):
        spent = sum(discarded_share(view.squares[mode], rank) for mode, rank in zip(leading, ranks, strict=True))
        narrow = (rank for rank in grids[last] if spent + discarded_share(view.squares[last], rank) <= error)
        first = next(narrow, None)
        if first is not None:
            yield (*ranks, first)
            if not leading:
                yield from ((rank,) for rank in narrow)


def _grid(limit: int) -> list[int]:
    """Every multiple of 8, 16 or 32 up to the limit (all ranks where there are few), and the limit itself."""
    step = 1 if limit <= 16 else 8 if limit <= 128 else 16 if limit <= 512 else 32
    return sorted({*range(step, limit + 1, step), limit})
