"""A second model beside the one that answers: it sees a share of the traffic, answers nobody, and is compared."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from paring.engines.protocol import Array
from paring.errors import EngineError, ParingError, RequestError, SettingError
from paring.numerics.sequential import MeanSequence, RatioSequence
from paring.serve.batcher import Ran
from paring.serve.model import Model

MOST_WAITING = 8  # batches; more are let go, so that the shadow never holds up the model
MOST_KEPT = 100_000  # answers that wait for their labels
CLOSE = 1e-2  # relative: when two numbers that are no classes agree
ALPHA = 0.05  # shared by the two sequences that a verdict rests on
Verdict = Literal["as good", "worse", "different", "undecided"]


@dataclass(frozen=True)
class Seen:
    """What came of the comparison so far. Intervals hold at every look."""

    batches: int
    rows: int
    skipped: int
    failed: int
    agreement: float
    agreement_interval: tuple[float, float]
    labels: int
    drop: float
    drop_interval: tuple[float, float]
    speedup: float
    speedup_interval: tuple[float, float]
    verdict: Verdict


class Shadow:
    """Compares `model` with whatever answers. `margin` is the drop that would be put up with."""

    def __init__(self, model: Model, fraction: float = 0.1, margin: float = 0.01, seed: int = 0) -> None:
        if not 0 < fraction <= 1 or not 0 < margin < 1:
            raise SettingError(
                f"shadow: fraction {fraction}, margin {margin}; fraction is within 0..1, margin below 1."
            )
        self.model, self.fraction, self.margin = model, fraction, margin
        self.batches = self.skipped = self.failed = 0
        self._draw = random.Random(seed)
        self._agreement = MeanSequence(0.0, 1.0, ALPHA / 2)
        self._drop = MeanSequence(-1.0, 1.0, ALPHA / 2)
        self._speedup = RatioSequence(ALPHA)
        self._kept: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "shadow", initializer=_step_back)

    def offer(self, ran: Ran, parts: Sequence[tuple[str, int]]) -> None:
        """A batch that was just answered; `parts` are (request id, rows). Costs the caller nothing but a draw."""
        if self._draw.random() >= self.fraction:
            return
        if self._waiting >= MOST_WAITING:
            self.skipped += 1
            return
        with self._lock:
            self._waiting += 1
        self._thread.submit(self._compare, ran, parts)

    def label(self, request_id: str, label: int) -> bool:
        """A late label of a one-row request; whether its answers were still known."""
        with self._lock:
            kept = self._kept.pop(request_id, None)
            if kept is not None:
                self._drop.add(float(kept[0] == label) - float(kept[1] == label))
        return kept is not None

    def seen(self) -> Seen:
        """All of it, and the verdict."""
        with self._lock:
            agreement, drop = self._agreement.interval, self._drop.interval
            return Seen(
                self.batches, self._agreement.count, self.skipped, self.failed, self._agreement.mean, agreement,
                self._drop.count, self._drop.mean, drop, self._speedup.ratio, self._speedup.interval,
                verdict(agreement, drop, self.margin),
            )  # fmt: skip

    def close(self) -> None:
        """Compares what waits, and ends."""
        self._thread.shutdown(wait=True)

    def _compare(self, ran: Ran, parts: Sequence[tuple[str, int]]) -> None:
        try:
            times, outputs = self._timed(ran)
            ours, theirs = (next(iter(one.values())) for one in (ran.outputs, outputs))
            same = agreeing(ours, theirs)
        except (ParingError, StopIteration):
            with self._lock:
                self.failed += 1
            return
        finally:
            with self._lock:
                self._waiting -= 1
        with self._lock:
            self.batches += 1
            for value in (0.0, 1.0):
                if times_seen := int((same == value).sum()):
                    self._agreement.add(value, times_seen)
            self._speedup.add(times[0] / times[1])
            self._keep(ours, theirs, parts)

    def _timed(self, ran: Ran) -> tuple[tuple[float, float], dict[str, Array]]:
        """Both models on the same batch, in turn, the first one changing: what slows the machine slows both."""
        models = [ran.model, self.model]
        order = [0, 1] if self.batches % 2 == 0 else [1, 0]
        seconds = [0.0, 0.0]
        outputs: list[dict[str, Array]] = [{}, {}]
        for place in order:
            start = time.perf_counter()
            outputs[place] = models[place].run(ran.inputs)
            seconds[place] = time.perf_counter() - start
        return (seconds[0], seconds[1]), outputs[1]

    def _keep(self, ours: Array, theirs: Array, parts: Sequence[tuple[str, int]]) -> None:
        if ours.ndim != 2 or ours.shape[1] < 2:
            return
        first = 0
        for request_id, rows in parts:
            if request_id and rows == 1:
                self._kept[request_id] = int(ours[first].argmax()), int(theirs[first].argmax())
            first += rows
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


def agreeing(ours: Array, theirs: Array) -> Array:
    """Row by row, 1.0 or 0.0, (n,): the same class where there are classes, else all numbers within 1 %.

    Raises EngineError for outputs of other shapes.
    """
    if ours.shape != theirs.shape or ours.ndim == 0:
        raise EngineError(f"shadow: it answers {theirs.shape}, and the model {ours.shape}.")
    if ours.ndim == 2 and ours.shape[1] > 1:
        same = ours.argmax(1) == theirs.argmax(1)
    else:
        close = np.isclose(theirs, ours, rtol=CLOSE, atol=CLOSE * float(np.abs(ours).mean()) + 1e-12)
        same = close.reshape(len(ours), -1).all(1)
    agreed: Array = same.astype(np.float64)
    return agreed


def verdict(agreement: tuple[float, float], drop: tuple[float, float], margin: float) -> Verdict:
    """A drop is at most the disagreement, so that agreement alone can clear a model; only labels can convict it."""
    if drop[0] > margin:
        return "worse"
    if drop[1] <= margin or 1 - agreement[0] <= margin:
        return "as good"
    return "different" if 1 - agreement[1] > margin else "undecided"


def labels_of(content: Any) -> list[tuple[str, int]]:
    """`{"labels": [{"id": "7", "label": 1}]}` as pairs. Raises RequestError (400)."""
    entries = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError(400, "labels: it must be a list of objects with id and label.")
    pairs = [(entry.get("id"), entry.get("label")) for entry in entries]
    if not all(isinstance(one, str) and type(label) is int for one, label in pairs):
        raise RequestError(400, "labels: id must be a string, label the whole number of a class.")
    return pairs


def _step_back() -> None:
    """The shadow's thread yields to everybody else, where the system lets a thread do that."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    except (OSError, AttributeError):
        return
