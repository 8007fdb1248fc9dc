"""How many rows a call should hold, learned from the calls: more is not always faster, once they outgrow a cache."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

SMOOTH = 0.2  # weight of the newest call in what is known of its size
TRY_EVERY = 8  # calls, one of which tries a neighbour of the best size
MOST_SHAPES = 512  # that are remembered
Key = tuple[object, ...]


@dataclass(eq=False)
class _Known:
    seconds_a_row: dict[int, float] = field(default_factory=dict)
    calls: int = 0
    best: int = 0
    tried: int = 0


class Pace:
    """Seconds a row by the size of a call, for every shape of request; sizes are powers of two up to `most`, and it.

    It starts at `most`. One call in eight may hold half or twice as many rows as the best, and what it shows counts.
    """

    def __init__(self, most: int) -> None:
        self.sizes = tuple(sorted({2**power for power in range(most.bit_length())} | {most}))
        self._known: OrderedDict[Key, _Known] = OrderedDict()

    def size(self, key: Key) -> int:
        """How many rows the next call of this shape may hold."""
        known = self._known.get(key)
        if known is None:
            return self.sizes[-1]
        return known.tried if known.calls % TRY_EVERY == TRY_EVERY - 1 else known.best

    def saw(self, key: Key, rows: int, seconds: float) -> None:
        """Takes in a call of so many rows."""
        known = self._known.pop(key, None) or _Known(best=self.sizes[-1], tried=self.sizes[-1])
        self._known[key] = known
        if len(self._known) > MOST_SHAPES:
            self._known.popitem(last=False)
        size = max((one for one in self.sizes if one <= rows), default=self.sizes[0])
        before = known.seconds_a_row.get(size)
        pace = seconds / rows
        known.seconds_a_row[size] = pace if before is None else before + SMOOTH * (pace - before)
        known.calls += 1
        known.best = self._best(known)
        if known.calls % TRY_EVERY == TRY_EVERY - 1:
            known.tried = self._neighbour(known)

    def _best(self, known: _Known) -> int:
        """The fastest size seen; where that is the largest seen, `most`, since larger ones may be faster yet."""
        fastest = min(known.seconds_a_row, key=lambda size: known.seconds_a_row[size])
        return self.sizes[-1] if fastest == max(known.seconds_a_row) else fastest

    def _neighbour(self, known: _Known) -> int:
        """One size below or above the best, in turn."""
        place = self.sizes.index(known.best)
        step = -1 if (known.calls // TRY_EVERY) % 2 == 0 else 1
        return self.sizes[min(max(place + step, 0), len(self.sizes) - 1)]
