"""Asks a server with nothing between: bytes out, bytes in."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Got:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}
        text: str = self.json["error"]
        return text


def connect(url: str, timeout_s: float = 10.0) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=timeout_s)


def ask(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> Got:
    """One request on a connection of its own. Header names are written with _ for -."""
    lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with connect(url) as link:
        link.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return read(link)


def read(link: socket.socket) -> Got:
    """Everything until the server closes, as one answer."""
    data = b""
    while piece := link.recv(65536):
        data += piece
    return parse(data)


def parse(data: bytes) -> Got:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Got(int(first.split()[1]), headers, body)


def infer(url: str, content: Any, model: str = "linear", **headers: str) -> Got:
    """A JSON inference."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(url, "POST", f"/v2/models/{model}/infer", body, **headers)
