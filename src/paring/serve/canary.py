"""A second model that answers a share of the requests, is judged by what comes of them, and is taken back if worse."""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from paring.engines.protocol import Array
from paring.errors import RequestError, SettingError
from paring.numerics.sequential import Interval, MeanSequence, RatioSequence
from paring.serve.batcher import Answer, Arrays, Batcher
from paring.serve.limits import Limits
from paring.serve.model import Model

MOST_FAILED = 3  # requests that the model of before could answer and this one could not
MOST_KEPT = 100_000  # answers that wait for their labels
ALPHA = 0.05  # shared by the sequences of the two arms
Fate = Literal["as good", "worse", "failed", "undecided"]
Arm = Literal["main", "canary"]


@dataclass(frozen=True)
class Tried:
    """What came of it so far. Intervals hold at every look; `drop` is main's accuracy less the canary's."""

    requests: int
    answered: int
    failed: int
    labels: tuple[int, int]
    accuracy: tuple[float, float]
    drop_interval: Interval
    speedup: float
    speedup_interval: Interval
    verdict: Fate
    withdrawn: bool


class Canary:
    """Answers `fraction` of the requests with `model`, until it is surely more than `margin` worse or fails.

    Both arms are judged by labels that come late and by the time their requests took; neither sees the other's
    requests, so that it takes more labels than a shadow, and shows what a shadow cannot: how clients react.
    """

    def __init__(
        self,
        model: Model,
        limits: Limits,
        fraction: float = 0.1,
        margin: float = 0.01,
        instances: int = 1,
        seed: int = 0,
    ) -> None:
        if not 0 < fraction < 1 or not 0 < margin < 1:
            raise SettingError(f"canary: fraction {fraction}, margin {margin}; both lie between 0 and 1.")
        self.model, self.fraction, self.margin = model, fraction, margin
        self.queue = Batcher(lambda: model, limits, instances)
        self.requests = self.answered = self.failed = 0
        self.withdrawn = False  # whether it answers nobody any more
        self._timeout_ms = limits.timeout_ms
        self._draw = random.Random(seed)
        self._right: dict[Arm, MeanSequence] = {arm: MeanSequence(0.0, 1.0, ALPHA / 2) for arm in ("main", "canary")}
        self._ms: dict[Arm, RatioSequence] = {arm: RatioSequence(ALPHA / 2) for arm in ("main", "canary")}
        self._kept: OrderedDict[str, tuple[Arm, int]] = OrderedDict()

    @property
    def verdict(self) -> Fate:
        """`worse` and `as good` by labels, with 5 % error for both together, whenever one looks."""
        if self.failed >= MOST_FAILED:
            return "failed"
        low, high = self.drop_interval
        return "worse" if low > self.margin else "as good" if high <= self.margin else "undecided"

    @property
    def drop_interval(self) -> Interval:
        """Main's accuracy less the canary's."""
        main, canary = (self._right[arm].interval for arm in ("main", "canary"))
        return main[0] - canary[1], main[1] - canary[0]

    async def submit(
        self, main: Batcher, inputs: Arrays, rows: int, request_id: str = "", timeout_ms: float | None = None
    ) -> Answer:
        """The answer of whichever is drawn. What the canary cannot answer main does, in the time left."""
        self.requests += 1
        if not self.withdrawn and self._draw.random() < self.fraction:
            began = time.perf_counter()
            try:
                answer = await self.queue.submit(inputs, rows, request_id, timeout_ms)
            except RequestError as error:
                rest_ms = (timeout_ms or self._timeout_ms) - 1e3 * (time.perf_counter() - began)
                answer = await main.submit(inputs, rows, request_id, max(rest_ms, 1.0))
                self.failed += error.status != 503  # main answered it, so the request was not to blame
                self._look()
                return answer
            self.answered += 1
            self._note("canary", answer, rows, request_id)
            return answer
        answer = await main.submit(inputs, rows, request_id, timeout_ms)
        self._note("main", answer, rows, request_id)
        return answer

    def label(self, request_id: str, label: int) -> bool:
        """A late label of a one-row request; whether its answer was still known."""
        kept = self._kept.pop(request_id, None)
        if kept is not None:
            self._right[kept[0]].add(float(kept[1] == label))
            self._look()
        return kept is not None

    def seen(self) -> Tried:
        """All of it."""
        right, ms = list(self._right.values()), list(self._ms.values())
        (main_low, main_high), (low, high) = (one.interval for one in ms)
        return Tried(
            self.requests, self.answered, self.failed, (right[0].count, right[1].count),
            (right[0].mean, right[1].mean), self.drop_interval, ms[0].ratio / ms[1].ratio,
            (main_low / high if high < math.inf else 0.0, main_high / low if low else math.inf),
            self.verdict, self.withdrawn,
        )  # fmt: skip

    def close(self) -> None:
        """Ends its threads."""
        self.queue.close()

    def _look(self) -> None:
        self.withdrawn = self.withdrawn or self.verdict in ("worse", "failed")

    def _note(self, arm: Arm, answer: Answer, rows: int, request_id: str) -> None:
        self._ms[arm].add(1e3 * (answer.waited_s + answer.ran_s) + 1e-9)
        first: Array = next(iter(answer.outputs.values()))
        if request_id and rows == 1 and first.ndim == 2 and first.shape[1] > 1:
            self._kept[request_id] = arm, int(first[0].argmax())
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
