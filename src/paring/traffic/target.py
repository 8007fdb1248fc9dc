"""The address to load, and a request that its model takes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from paring.engines.protocol import Arrays
from paring.errors import EngineError, SettingError
from paring.serve.dtypes import DTYPES


@dataclass(frozen=True)
class Address:
    """Host and port of a server, and one of its models."""

    host: str
    port: int
    model: str
    token: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v2/models/{self.model}"


def address_of(url: str, token: str | None = None) -> Address:
    """`http://host:port/v2/models/NAME`, or `http://host:port` of a server with one model.

    Raises: SettingError for another form; EngineError if no server of the protocol answers.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise SettingError(f"load: {url!r} is no address; write http://127.0.0.1:8000/v2/models/NAME.")
    host, port = parts.hostname, parts.port or 80
    names = parts.path.strip("/").split("/")
    if names[:2] == ["v2", "models"] and len(names) >= 3:
        return Address(host, port, names[2], token)
    served = [row["name"] for row in _ask(Address(host, port, "", token), "/v2/repository/index", b"{}")]
    if len(served) != 1:
        raise SettingError(f"load: {url} serves {', '.join(served)}; write {url.rstrip('/')}/v2/models/NAME.")
    return Address(host, port, served[0], token)


def request_for(address: Address, shapes: dict[str, tuple[int, ...]], inputs: Arrays | None = None) -> bytes:
    """A whole HTTP request with binary tensors: `inputs`, else ones of the model's shapes, free dimensions 1.

    Raises: SettingError for a shape that names no input; EngineError if the model is not served.
    """
    told = _ask(address, f"/v2/models/{address.model}")["inputs"]
    known = {entry["name"] for entry in told}
    if unknown := sorted((shapes.keys() | (inputs or {}).keys()) - known):
        raise SettingError(f"load: {address.model} has no input {unknown[0]!r}; it takes {', '.join(sorted(known))}.")
    entries, tail = [], b""
    for entry in told:
        name = entry["name"]
        shape = shapes.get(name) or tuple(1 if size < 0 else size for size in entry["shape"])
        array = np.ones(shape, DTYPES[entry["datatype"]]) if inputs is None else np.asarray(inputs[name])
        data = np.ascontiguousarray(array.astype(DTYPES[entry["datatype"]])).tobytes()
        entries.append(
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": entry["datatype"],
                "parameters": {"binary_data_size": len(data)},
            }
        )
        tail += data
    head = json.dumps({"inputs": entries, "parameters": {"binary_data_output": True}}).encode()
    lines = [
        f"POST /v2/models/{address.model}/infer HTTP/1.1",
        f"host: {address.host}:{address.port}",
        f"inference-header-content-length: {len(head)}",
        f"content-length: {len(head) + len(tail)}",
        *([f"authorization: Bearer {address.token}"] if address.token else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + head + tail


def _ask(address: Address, path: str, body: bytes | None = None) -> Any:
    asked = urllib.request.Request(f"http://{address.host}:{address.port}{path}", data=body)
    if address.token:
        asked.add_header("authorization", f"Bearer {address.token}")
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read(500).decode("utf-8", "replace")
        error.close()
        raise EngineError(f"{address.url}: it answers {error.code}: {said}") from None
    except (OSError, ValueError) as error:
        raise EngineError(f"{address.url}: no server of the Open Inference Protocol answers there ({error}).") from None
