"""Who shares a call, who waits, who is refused: against a model that runs when it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paring.core.target import Target
from paring.engines.protocol import InputSpec
from paring.errors import EngineError, RequestError
from paring.serve.batcher import Answer, Batcher
from paring.serve.limits import Limits
from paring.serve.model import Model

SPEC = (InputSpec("x", (None, 2), np.dtype("float32")),)


@dataclass
class Gated:
    """A session that doubles its input once the gate is open, and remembers the rows of each call."""

    gate: threading.Event = field(default_factory=threading.Event)
    rows: list[int] = field(default_factory=list)
    inputs = SPEC
    answers = SPEC
    input_names = ("x",)

    def run(self, inputs: Any) -> list[Any]:
        self.rows.append(len(inputs["x"]))
        assert self.gate.wait(10)
        if np.isnan(inputs["x"]).any():
            raise EngineError("/secret/model.onnx: not a number")
        return [2 * inputs["x"]]

    def prepare(self, inputs: Any) -> Callable[[], object]:
        raise NotImplementedError


def rows(n: int, value: float = 1.0, width: int = 2) -> dict[str, Any]:
    return {"x": np.full((n, width), value, np.float32)}


def batcher(session: Gated, batchable: bool = True, **limits: Any) -> Batcher:
    model = Model("v", Target(), session, SPEC, SPEC, batchable)
    return Batcher(lambda: model, Limits(**({"max_rows": 4} | limits)))


def run(body: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(body(), 20))


async def started(queue: Batcher, session: Gated) -> asyncio.Task[Answer]:
    """A first request that holds the model."""
    first = asyncio.create_task(queue.submit(rows(1), 1))
    while not session.rows:
        await asyncio.sleep(0.001)
    return first


def test_what_waits_shares_a_call_and_each_gets_its_own_rows() -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session, max_batch=8)
        first = await started(queue, session)
        rest = [asyncio.create_task(queue.submit(rows(2, value), 2)) for value in (3, 4, 5)]
        await asyncio.sleep(0)
        session.gate.set()
        answers = await asyncio.gather(first, *rest)
        assert session.rows == [1, 6]
        assert [answer.batch_rows for answer in answers] == [1, 6, 6, 6]
        for answer, value in zip(answers[1:], (3, 4, 5), strict=True):
            np.testing.assert_array_equal(answer.outputs["x"], np.full((2, 2), 2 * value))
        assert queue.waiting_rows == queue.running_rows == 0

    run(body)


@pytest.mark.parametrize(
    ("limits", "batchable", "expected"),
    [({"max_batch": 4}, True, [1, 4, 2]), ({"max_batch": 1}, True, [1, 2, 2, 2]), ({}, False, [1, 2, 2, 2])],
)
def test_a_batch_is_bounded(limits: dict[str, Any], batchable: bool, expected: list[int]) -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session, batchable, **limits)
        first = await started(queue, session)
        rest = [asyncio.create_task(queue.submit(rows(2), 2)) for _ in range(3)]
        await asyncio.sleep(0)
        session.gate.set()
        await asyncio.gather(first, *rest)
        assert session.rows == expected

    run(body)


def test_other_shapes_do_not_share_a_call() -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session)
        first = await started(queue, session)
        rest = [asyncio.create_task(queue.submit(rows(1, width=width), 1)) for width in (2, 3, 2, 3)]
        await asyncio.sleep(0)
        session.gate.set()
        await asyncio.gather(first, *rest)
        assert session.rows == [1, 2, 2]

    run(body)


def test_an_idle_model_waits_for_the_delay_and_no_longer_than_a_full_batch() -> None:
    session = Gated()
    session.gate.set()

    async def body() -> None:
        queue = batcher(session, max_batch=4, batch_delay_ms=5_000)
        await asyncio.gather(*(queue.submit(rows(1), 1) for _ in range(4)))  # full: goes at once
        assert session.rows == [4]
        hasty = batcher(session, max_batch=4, batch_delay_ms=20)
        await asyncio.gather(*(hasty.submit(rows(1), 1) for _ in range(3)))  # goes when the delay is over
        assert session.rows == [4, 3]

    run(body)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session, max_queue=4)
        first = await started(queue, session)
        waiting = [asyncio.create_task(queue.submit(rows(2), 2)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="4 rows are waiting, and 4 are allowed") as refused:
            await queue.submit(rows(1), 1)
        assert refused.value.status == 503 and refused.value.retry_after_s == 1
        session.gate.set()
        await asyncio.gather(first, *waiting)  # whoever was accepted is answered
        await queue.submit(rows(1), 1)  # and there is room again

    run(body)


def test_a_wait_beyond_the_time_out_is_refused_before_it_begins() -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session, timeout_ms=1_000)
        first = await started(queue, session)
        waiting = asyncio.create_task(queue.submit(rows(1), 1))
        await asyncio.sleep(0)
        queue.seconds_per_row = 0.5  # two rows before it: a second
        with pytest.raises(RequestError, match="the wait would be about 1 s") as refused:
            await queue.submit(rows(1), 1)
        assert refused.value.status == 503
        session.gate.set()
        await asyncio.gather(first, waiting)

    run(body)


def test_who_waited_too_long_is_told_so_and_does_not_run() -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session)
        first = await started(queue, session)
        with pytest.raises(RequestError, match=r"no answer within 0\.01 s") as late:
            await queue.submit(rows(2), 2, timeout_ms=10)
        assert late.value.status == 503
        session.gate.set()
        await first
        await queue.submit(rows(3), 3)
        assert session.rows == [1, 3]

    run(body)


def test_one_that_the_model_cannot_run_on_fails_alone() -> None:
    session = Gated()

    async def body() -> None:
        queue = batcher(session)
        first = await started(queue, session)
        rest = [asyncio.create_task(queue.submit(rows(1, value), 1)) for value in (3, np.nan, 5)]
        await asyncio.sleep(0)
        session.gate.set()
        answers = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Answer, Answer, RequestError, Answer]
        assert answers[2].status == 400 and "secret" not in str(answers[2])

    run(body)


def test_a_swap_shows_at_the_next_batch_and_spares_the_one_under_way() -> None:
    old, new = Gated(), Gated()
    new.gate.set()
    models = [Model("old", Target(), old, SPEC, SPEC, True)]

    async def body() -> None:
        queue = Batcher(lambda: models[-1], Limits())
        first = await started(queue, old)
        later = asyncio.create_task(queue.submit(rows(1), 1))
        models.append(Model("new", Target(), new, SPEC, SPEC, True))
        old.gate.set()
        assert [(await first).version, (await later).version] == ["old", "new"]

    run(body)


def test_limits_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_queue is 4 and max_rows 256"):
        Limits(max_queue=4)
    with pytest.raises(ValueError, match="timeout_ms is 0"):
        Limits(timeout_ms=0)
