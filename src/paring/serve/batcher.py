"""Requests that share a call: a bounded queue in front of one model, batches by what is waiting, answers in time.

All state belongs to the event loop; only `Model.run` happens on other threads. A batch holds requests of one shape.
While the model is busy requests gather; when it is free, the oldest goes with all that fit beside it, at once or after
`batch_delay_ms`. How many fit is learned (`Pace`), up to `max_batch`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from paring.engines.protocol import Array
from paring.errors import EngineError, RequestError
from paring.serve.limits import Limits
from paring.serve.model import Model
from paring.serve.pace import Key, Pace

MARGIN = 0.8  # of the time-out: what the estimate of the wait may reach before a request is refused
SMOOTH = 0.1  # weight of the newest batch in the estimate of the time a row takes
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Ran:
    """A call of the model: its inputs and outputs whole, for whoever compares."""

    model: Model
    inputs: Arrays
    outputs: Arrays
    rows: int
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What one request gets: its rows of the outputs, and how it came about."""

    outputs: Arrays
    version: str
    waited_s: float
    batch_rows: int
    ran_s: float


Observer = Callable[[Ran, Sequence[tuple[str, int]]], None]


@dataclass(eq=False)
class _Waiting:
    inputs: Arrays
    rows: int
    request_id: str
    arrived: float
    future: asyncio.Future[Answer]
    expiry: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Batcher:
    """The queue of one model. `current` gives the model of the moment, so that a swap shows at the next batch."""

    current: Callable[[], Model]
    limits: Limits
    instances: int = 1
    observe: Observer = lambda ran, parts: None
    seconds_per_row: float = 0.0
    waiting_rows: int = 0
    running_rows: int = 0
    _queues: dict[Key, deque[_Waiting]] = field(default_factory=dict)
    _free: int = 0
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._free = self.instances
        self._pace = Pace(self.limits.max_batch)
        self._threads = ThreadPoolExecutor(self.instances, thread_name_prefix="model")

    async def submit(self, inputs: Arrays, rows: int, request_id: str = "", timeout_ms: float | None = None) -> Answer:
        """The answer to one request. Raises RequestError: 400 if the model cannot run on it, 503 if it is refused."""
        timeout_s = min(timeout_ms or math.inf, self.limits.timeout_ms) / 1e3
        self._admit(rows, timeout_s)
        loop = asyncio.get_running_loop()
        one = _Waiting(inputs, rows, request_id, time.perf_counter(), loop.create_future())
        one.expiry = loop.call_later(timeout_s, self._expire, one, timeout_s)
        self._queues.setdefault(self._key(one), deque()).append(one)
        self.waiting_rows += rows
        self._pump()
        return await one.future

    def estimated_wait_s(self) -> float:
        """How long a request that comes now would wait for its turn, by the pace of the last batches."""
        return (self.waiting_rows + self.running_rows) * self.seconds_per_row / self.instances

    def close(self) -> None:
        """Ends the threads. Call when nothing waits any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self, rows: int, timeout_s: float) -> None:
        wait = self.estimated_wait_s()
        if self.waiting_rows + rows > self.limits.max_queue:
            raise _busy(f"{self.waiting_rows} rows are waiting, and {self.limits.max_queue} are allowed", wait)
        if self.waiting_rows and wait + rows * self.seconds_per_row > MARGIN * timeout_s:
            raise _busy(f"the wait would be about {wait:.2g} s, and {timeout_s:g} s are allowed", wait)

    def _key(self, one: _Waiting) -> Key:
        return tuple((name, array.shape[1:]) for name, array in sorted(one.inputs.items()))

    def _expire(self, one: _Waiting, timeout_s: float) -> None:
        if not one.future.done():
            one.future.set_exception(_busy(f"no answer within {timeout_s:g} s", self.estimated_wait_s()))

    def _pump(self) -> None:
        """Starts batches while an instance is free and a queue holds one that is full or old enough."""
        while self._free and (queues := self._by_age()):
            delay_s = self.limits.batch_delay_ms / 1e3
            now = time.perf_counter()
            ready = next((queue for queue in queues if self._is_ready(queue, now - delay_s)), None)
            if ready is None:
                if self._timer is None:
                    rest_s = max(queues[0][0].arrived + delay_s - now, 0.0)
                    self._timer = asyncio.get_running_loop().call_later(rest_s, self._again)
                return
            if batch := self._take(ready):
                self._start(batch)

    def _is_ready(self, queue: deque[_Waiting], since: float) -> bool:
        return queue[0].arrived <= since or sum(one.rows for one in queue) >= self._pace.size(self._key(queue[0]))

    def _again(self) -> None:
        self._timer = None
        self._pump()

    def _by_age(self) -> list[deque[_Waiting]]:
        for key in [key for key, queue in self._queues.items() if not queue]:
            del self._queues[key]
        return sorted(self._queues.values(), key=lambda queue: queue[0].arrived)

    def _take(self, queue: deque[_Waiting]) -> list[_Waiting]:
        """The first of the queue and what fits beside it; those that expired while waiting are dropped."""
        batch: list[_Waiting] = []
        rows = 0
        most = self._pace.size(self._key(queue[0])) if self.current().batchable else 1
        while queue and (not batch or rows + queue[0].rows <= most):
            one = queue.popleft()
            self.waiting_rows -= one.rows
            if not one.future.done():
                batch.append(one)
                rows += one.rows
        return batch

    def _start(self, batch: list[_Waiting]) -> None:
        rows = sum(one.rows for one in batch)
        self._free -= 1
        self.running_rows += rows
        loop, started, model = asyncio.get_running_loop(), time.perf_counter(), self.current()
        call = partial(_run, model, [one.inputs for one in batch], rows)
        done = loop.run_in_executor(self._threads, call)
        done.add_done_callback(partial(self._finish, batch, rows, model, started))

    def _finish(
        self, batch: list[_Waiting], rows: int, model: Model, started: float, done: asyncio.Future[Ran]
    ) -> None:
        self._free += 1
        self.running_rows -= rows
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            self._failed(batch, error)
        else:
            self._answer(batch, done.result(), model, started)
        self._pump()

    def _answer(self, batch: list[_Waiting], ran: Ran, model: Model, started: float) -> None:
        pace = ran.seconds / ran.rows
        self._pace.saw(self._key(batch[0]), ran.rows, ran.seconds)
        self.seconds_per_row += (SMOOTH if self.seconds_per_row else 1.0) * (pace - self.seconds_per_row)
        first = 0
        for one in batch:
            share = {name: array[first : first + one.rows] for name, array in ran.outputs.items()}
            answer = Answer(
                share if len(batch) > 1 else ran.outputs, model.version, started - one.arrived, ran.rows, ran.seconds
            )
            first += one.rows
            _settle(one, answer)
        self.observe(ran, [(one.request_id, one.rows) for one in batch])

    def _failed(self, batch: list[_Waiting], error: BaseException) -> None:
        """Whoever shared a batch with a request that the model cannot run is tried again alone."""
        if len(batch) > 1:
            for one in reversed(batch):
                self._queues.setdefault((id(one),), deque()).appendleft(one)
                self.waiting_rows += one.rows
            return
        known = isinstance(error, EngineError)
        message = "the model cannot run on these inputs." if known else "the model failed on these inputs."
        _settle(batch[0], RequestError(400 if known else 500, f"inputs: {message}"))


def _run(model: Model, parts: Sequence[Arrays], rows: int) -> Ran:
    inputs = (
        parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )
    start = time.perf_counter()
    outputs = model.run(inputs)
    seconds = time.perf_counter() - start
    if len(parts) > 1 and any(array.ndim == 0 or len(array) != rows for array in outputs.values()):
        raise EngineError("an output has another number of rows than the inputs, so that rows cannot share a call.")
    return Ran(model, inputs, outputs, rows, seconds)


def _settle(one: _Waiting, result: Answer | Exception) -> None:
    if one.expiry is not None:
        one.expiry.cancel()
    if one.future.done():
        return
    if isinstance(result, Exception):
        one.future.set_exception(result)
    else:
        one.future.set_result(result)


def _busy(why: str, wait_s: float) -> RequestError:
    return RequestError(503, f"busy: {why}. Come again later.", retry_after_s=max(1, math.ceil(wait_s)))
