"""The app under uvicorn: connections bounded in number, size and time; SIGTERM drains before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from paring.errors import SettingError
from paring.serve.app import App
from paring.serve.journal import Journal
from paring.serve.limits import Limits
from paring.serve.repository import Repository

LINGER_S = 2.0  # for a body that still comes after its answer went
BACKLOG = 1024
WATCH_S = 1.0
KEEP_ALIVE_S = 60
LAST_WORD_S = 0.5


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's connection, which bounds neither the head of a request nor the time it takes to come."""

    limits = Limits()

    def connection_made(self, transport: Any) -> None:
        self._head_bytes, self._in_head = 0, True
        self._timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(b"503 Service Unavailable", "busy: too many connections.", b"retry-after: 1\r\n")
            return
        self._await(self.limits.head_timeout_s)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.limits.max_head_bytes and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", "the head of the request is too large.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._await(self.limits.head_timeout_s)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._await(None)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        cycle = self.cycle
        super().on_response_complete()
        if cycle is not None and cycle.response_complete and cycle.more_body:
            self._await(LINGER_S)

    def shutdown(self) -> None:
        """As the port closes. Who has just connected gets a moment to ask."""
        if self.cycle is None:
            self._await(LAST_WORD_S)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        super().connection_lost(exc)

    def _await(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(b"408 Request Timeout", "the request did not arrive in time.")

    def _refuse(self, status: bytes, message: str, headers: bytes = b"") -> None:
        body = b'{"error":"%s"}' % message.encode()
        head = b"HTTP/1.1 %s\r\n%scontent-type: application/json\r\nconnection: close\r\n" % (status, headers)
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()


class JournalHandler(logging.Handler):
    """What uvicorn has to say, as lines of the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self.journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self.journal("http", level=record.levelname.lower(), message=record.getMessage())


class DrainingServer(uvicorn.Server):
    """On SIGTERM readiness says 503 and every answer closes its connection; after `drain_s` the port closes; what is
    under way is answered; then the process ends. A second signal ends it at once."""

    def __init__(self, app: App) -> None:
        protocol = type("Protocol", (GuardedProtocol,), {"limits": app.limits})
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                backlog=BACKLOG,
                timeout_graceful_shutdown=int(app.limits.stop_s),
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        self.app = app

    async def run_on(self, listener: socket.socket) -> None:
        """Serves until drained."""
        log, told = logging.getLogger("uvicorn.error"), JournalHandler(self.app.journal)
        log.addHandler(told)
        log.propagate = False
        watching = asyncio.create_task(watch(self.app.models, WATCH_S))
        listener.listen(BACKLOG)  # whoever reads the next line and asks at once waits for uvicorn, and is not refused
        host, port = listener.getsockname()[:2]
        self.app.journal("listening", host=host, port=port, models=[slot.name for slot in self.app.models])
        try:
            await self.serve(sockets=[listener])
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            log.removeHandler(told)
            self.app.journal("ended", under_way=self.app.under_way)
            self.app.models.close()

    def drain(self, why: str) -> None:
        """Begins the end. Call it on the loop's thread."""
        self.app.draining = True
        self.app.journal("draining", why=why, under_way=self.app.under_way)
        asyncio.get_running_loop().call_later(self.app.limits.drain_s, self._stop)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.app.draining:
            self.should_exit = self.force_exit = True
            return
        self.app.draining = True
        # A handler interrupts this thread anywhere, perhaps inside the lock that the journal would wait for.
        asyncio.get_running_loop().call_soon_threadsafe(self.drain, signal.Signals(sig).name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the port, but first takes in who is connected in the kernel's queue: closing would reset them."""
        loop = asyncio.get_running_loop()
        waiting = [link for listener in sockets or () for link in _accepted(listener)]
        for server in self.servers:
            server.close()
        for link in waiting:
            await loop.connect_accepted_socket(self._protocol, link)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state={})
        return protocol

    def _stop(self) -> None:
        self.should_exit = True


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            yield listener.accept()[0]
        except OSError:  # none waits any more
            return


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet; port 0 takes a free one. Raises SettingError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off on what is accepted: 40 ms an answer otherwise.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise SettingError(f"--host {host} --port {port}: cannot be bound: {error.strerror}. Choose another.") from None
    return found


def run_server(app: App, listener: socket.socket) -> None:
    """Serves until SIGTERM or Ctrl-C; returns when all is answered."""
    asyncio.run(DrainingServer(app).run_on(listener))


@contextlib.contextmanager
def background(app: App, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serves on a thread while the block runs, for notebooks and tests; yields the address, `http://127.0.0.1:41231`."""
    listener = bound_socket(host, port)
    server = DrainingServer(app)
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        loops[0].call_soon(ready.set)
        await server.run_on(listener)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="server", daemon=True)
    listener.listen(BACKLOG)
    thread.start()
    ready.wait()
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        loops[0].call_soon_threadsafe(server.drain, "the block ended")
        thread.join()
        listener.close()


async def watch(models: Repository, every_s: float) -> None:
    """Looks at the models' files now and then, and takes what changed."""
    while True:
        await asyncio.sleep(every_s)
        for slot in models:
            await models.refresh(slot)
