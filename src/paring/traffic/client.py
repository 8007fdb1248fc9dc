"""An open-loop client: requests go when they are due, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from paring.traffic.plan import Floats, Outcome, Rung, arrivals, rung
from paring.traffic.target import Address

REST_S = 0.05  # of a client without pause that was refused: asking at once again would measure refusals
PATIENCE_S = 30.0  # for answers after the last request was sent


class Connection(asyncio.Protocol):
    """One kept connection with one request under way; it reads a status and a length, and no more than it must."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.due: tuple[float, float] | None = None  # (intended time, time on the client's clock)
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, due: tuple[float, float], request: bytes) -> None:
        """Sends the request that was due then."""
        assert self.transport is not None
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = bytes(head).lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines[1:])
        if len(rest) < int(fields[b"content-length"]):
            return
        self.buffer.clear()
        closes = fields.get(b"connection") == b"close"
        self.pool.answered(self, int(lines[0].split(b" ")[1]), closes=closes)
        if closes and self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.due is not None:
            self.pool.answered(self, 0, closes=True)


class Pool:
    """As many connections as are needed at once, each used again."""

    def __init__(self, address: Address, request: bytes, start: float) -> None:
        self.address, self.request, self.start = address, request, start
        self.rest_s = 0.0  # how long a connection rests after a refusal
        self.idle: deque[Connection] = deque()
        self.outcomes: list[Outcome] = []
        self.late_s: list[float] = []
        self.opening: set[asyncio.Task[None]] = set()
        self.all: list[Connection] = []

    async def warm(self, count: int) -> None:
        """Opens connections beforehand, so that a rung does not pay for them."""
        for _ in range(count):
            if (connection := await self._connect()) is not None:
                self.idle.append(connection)

    def fire(self, at_s: float) -> None:
        """Sends the request that is due `at_s` after the start, on an idle connection or on a new one."""
        due = (at_s, self.start + at_s)
        self.late_s.append(max(time.perf_counter() - due[1], 0.0))
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                connection.send(due, self.request)
                return
        task = asyncio.create_task(self._fire_anew(due))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    def answered(self, connection: Connection, status: int, *, closes: bool) -> None:
        if connection.due is None:
            return  # nobody asked: the server says that it closes a connection which rested too long
        at_s, due = connection.due
        connection.due = None
        self.outcomes.append(Outcome(at_s, (time.perf_counter() - due) * 1e3, status))
        if not closes and status == 503 and self.rest_s:
            asyncio.get_running_loop().call_later(self.rest_s, self.idle.append, connection)
        elif not closes:
            self.idle.append(connection)

    async def close(self) -> None:
        """Ends every connection, whatever is under way on it."""
        await asyncio.gather(*self.opening)
        for connection in self.all:
            connection.due = None
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0.01)

    async def _fire_anew(self, due: tuple[float, float]) -> None:
        connection = await self._connect()
        if connection is None:
            self.outcomes.append(Outcome(due[0], (time.perf_counter() - due[1]) * 1e3, 0))
        else:
            connection.send(due, self.request)

    async def _connect(self) -> Connection | None:
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), self.address.host, self.address.port
            )
        except OSError:
            return None
        self.all.append(protocol)
        return protocol


def run_rung(address: Address, request: bytes, rate_per_s: float, seconds: float, seed: int = 0) -> Rung:
    """Holds one rate for `seconds`."""
    times = arrivals(rate_per_s, seconds, seed)
    pool, took_s = asyncio.run(_fire_all(address, request, times))
    missing = len(times) - len(pool.outcomes)
    outcomes = [*pool.outcomes, *[Outcome(seconds, PATIENCE_S * 1e3, 0)] * missing]
    return rung(rate_per_s, seconds, outcomes, pool.late_s, took_s)


def closed_loop(address: Address, request: bytes, clients: int, seconds: float) -> float:
    """Answers per second when so many clients ask without pause: the rate at which the server saturates."""
    return asyncio.run(_ask_without_pause(address, request, clients, seconds))


async def _fire_all(address: Address, request: bytes, times: Sequence[float] | Floats) -> tuple[Pool, float]:
    pool = Pool(address, request, 0.0)
    await pool.warm(8)
    pool.start = time.perf_counter() + 0.02
    for at_s in times:
        wait_s = pool.start + at_s - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        elif len(pool.late_s) % 32 == 0:
            await asyncio.sleep(0)  # behind the plan: answers must be read all the same
        pool.fire(float(at_s))
    until = time.perf_counter() + PATIENCE_S
    while len(pool.outcomes) < len(times) and time.perf_counter() < until:
        await asyncio.sleep(0.005)
    took_s = time.perf_counter() - pool.start
    await pool.close()
    return pool, took_s


async def _ask_without_pause(address: Address, request: bytes, clients: int, seconds: float) -> float:
    pool = Pool(address, request, time.perf_counter())
    pool.rest_s = REST_S
    await pool.warm(clients)
    start, good = time.perf_counter(), 0
    while (now := time.perf_counter()) < start + seconds:
        while pool.idle:
            pool.fire(now - pool.start)
        await asyncio.sleep(0.001)
    good = sum(one.status == 200 for one in pool.outcomes)
    took_s = time.perf_counter() - start
    await pool.close()
    return good / took_s
