"""Answers as ASGI messages: a status, headers, a body."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paring.errors import RequestError
from paring.serve.encode import JSON, Header

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes
    headers: Sequence[Header] = (JSON,)

    async def send(self, send: Send, *, close: bool) -> None:
        """Sends it; with `close` the connection ends after it."""
        headers = [*self.headers, (b"content-length", str(len(self.body)).encode())]
        if close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(content: Any, status: int = 200, headers: Sequence[Header] = ()) -> Reply:
    """`content` as JSON."""
    return Reply(status, json.dumps(content, separators=(",", ":")).encode(), (JSON, *headers))


def error_reply(error: RequestError, headers: Sequence[Header] = ()) -> Reply:
    """`{"error": "..."}`, as the protocol says, and when to come again."""
    again = () if error.retry_after_s is None else ((b"retry-after", str(error.retry_after_s).encode()),)
    return json_reply({"error": str(error)}, error.status, (*again, *headers))
