"""A request's body: read within bounds of size and time, and unpacked within the same bounds."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from paring.errors import RequestError
from paring.serve.limits import Limits

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Headers = Mapping[bytes, bytes]
AUTO = zlib.MAX_WBITS | 32  # a gzip or a zlib head


async def read_body(receive: Receive, headers: Headers, limits: Limits) -> bytes:
    """The body, unpacked. Raises RequestError: 400, 408, 413, 415; or ConnectionResetError if whoever asked left."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limits.max_body_bytes:
        raise _too_large(limits)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"", b"gzip", b"deflate"):
        raise RequestError(415, "content-encoding: it must be gzip, deflate or identity.")
    body = await _whole(receive, limits)
    return unpacked(body, limits) if encoding in (b"gzip", b"deflate") else body


def unpacked(packed: bytes, limits: Limits) -> bytes:
    """gzip or zlib data unpacked, never more of it than the limit. Raises RequestError: 400, 413."""
    unpack = zlib.decompressobj(AUTO)
    try:
        plain = unpack.decompress(packed, limits.max_body_bytes + 1)
    except zlib.error:
        raise RequestError(400, "body: it is not the gzip or deflate data that content-encoding says.") from None
    if len(plain) > limits.max_body_bytes:
        raise _too_large(limits)
    if not unpack.eof or unpack.unused_data:
        raise RequestError(400, "body: its compressed data is cut short, or something follows it.")
    return plain


async def _whole(receive: Receive, limits: Limits) -> bytes:
    pieces, size, more = [], 0, True
    try:
        async with asyncio.timeout(limits.head_timeout_s):
            while more:
                event = await receive()
                pieces.append(_piece(event))
                size += len(pieces[-1])
                if size > limits.max_body_bytes:
                    raise _too_large(limits)
                more = bool(event.get("more_body"))
    except TimeoutError:
        raise RequestError(408, f"body: it did not arrive within {limits.head_timeout_s:g} s.") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _piece(event: Mapping[str, Any]) -> bytes:
    if event["type"] == "http.disconnect":
        raise ConnectionResetError
    piece: bytes = event.get("body", b"")
    return piece


def _too_large(limits: Limits) -> RequestError:
    return RequestError(413, f"body: it is larger than the {limits.max_body_bytes} bytes that are allowed.")
