"""The server as an ASGI application: what each path of the Open Inference Protocol V2 answers.

https://github.com/kserve/open-inference-protocol, with Triton's binary tensors, statistics and repository index.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import paring
from paring.errors import RequestError
from paring.serve.body import Receive, read_body
from paring.serve.decode import decode, metadata, read_object
from paring.serve.encode import Header, encode
from paring.serve.journal import Journal
from paring.serve.limits import Limits
from paring.serve.metrics import CONTENT_TYPE, Metrics
from paring.serve.openapi import schema
from paring.serve.reply import Reply, Send, error_reply, json_reply
from paring.serve.repository import Repository, Slot, as_plain
from paring.serve.shadow import labels_of

Scope = Mapping[str, Any]
Endpoint = Callable[["App", Slot, Receive, Mapping[bytes, bytes]], Awaitable[Reply]]
EXTENSIONS = ["binary_tensor_data", "model_repository"]


@dataclass(eq=False)
class App:
    """ASGI: `await app(scope, receive, send)`. While `draining`, it answers what comes and closes connections."""

    models: Repository
    limits: Limits
    metrics: Metrics
    journal: Journal
    token: str | None = None
    draining: bool = False
    under_way: int = 0
    _token_digest: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        if self.token is not None:
            self._token_digest = hashlib.sha256(self.token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        arrived = time.perf_counter()
        note: dict[str, Any] = {}
        self.under_way += 1
        try:
            reply = await self._answer(scope, receive, note)
            await reply.send(send, close=self.draining)
            self._count(reply.status, arrived, note)
        except ConnectionResetError:
            self.journal("left", **note)
        finally:
            self.under_way -= 1

    async def _answer(self, scope: Scope, receive: Receive, note: dict[str, Any]) -> Reply:
        headers = dict(scope["headers"])
        try:
            parts = scope["path"].split("/")[1:]
            self._authorize(parts, headers)
            return await self._route(scope["method"], parts, receive, headers, note)
        except RequestError as error:
            note["error"] = str(error)
            return error_reply(error, _challenge(error))
        except Exception as problem:  # a mistake of ours must neither end the server nor show its insides
            self.journal("failure", kind=type(problem).__name__, reason=str(problem)[:300], **note)
            return error_reply(RequestError(500, "the server failed on this request; its log says why."))

    def _authorize(self, parts: list[str], headers: Mapping[bytes, bytes]) -> None:
        """Probes need no token. Digests are compared, so that neither length nor prefix shows in the time it takes."""
        if self.token is None or parts[:2] == ["v2", "health"]:
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        same = hmac.compare_digest(hashlib.sha256(given.strip()).digest(), self._token_digest)
        if not (same and kind.lower() == b"bearer"):
            raise RequestError(401, "authorization: this server takes a bearer token.")

    async def _route(
        self, method: str, parts: list[str], receive: Receive, headers: Mapping[bytes, bytes], note: dict[str, Any]
    ) -> Reply:
        if tuple(parts) in PLAIN:
            wanted, make = PLAIN[tuple(parts)]
            _only(wanted, method)
            return make(self)
        if parts[:2] != ["v2", "models"] and parts[:3] != ["v2", "repository", "models"]:
            raise RequestError(404, "there is nothing at this path; see /openapi.json.")
        rest = parts[2:] if parts[1] == "models" else parts[3:]
        name, version, action = _address(rest)
        endpoints = ENDPOINTS if parts[1] == "models" else CONTROLS
        if action not in endpoints or (version is not None and endpoints is CONTROLS):
            raise RequestError(404, "there is nothing at this path; see /openapi.json.")
        wanted, endpoint = endpoints[action]
        _only(wanted, method)
        slot = self.models.find(name, version)
        note["model"] = slot.name
        if endpoint is _infer:
            return await self._infer(slot, receive, headers, note)
        return await endpoint(self, slot, receive, headers)

    async def _infer(self, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes], note: dict[str, Any]) -> Reply:
        body = await read_body(receive, headers, self.limits)
        head = headers.get(b"inference-header-content-length")
        model = slot.model
        asked = decode(
            body, None if head is None else head.decode("latin-1"), model.inputs, model.output_names, self.limits
        )
        if model.batchable and any(len(array) != asked.rows for array in asked.inputs.values()):
            raise RequestError(400, "inputs: all must have the same first dimension, the rows of the batch.")
        note |= {"rows": asked.rows} | ({"id": asked.id} if asked.id else {})
        answer = await slot.answer(asked)
        self.metrics.waited.labels(slot.name).observe(answer.waited_s)
        note |= {
            "version": answer.version, "batch": answer.batch_rows,
            "waited_ms": round(answer.waited_s * 1e3, 3), "ran_ms": round(answer.ran_s * 1e3, 3),
        }  # fmt: skip
        return Reply(200, *encode(asked, answer.outputs, slot.name, answer.version))

    def _count(self, status: int, arrived: float, note: dict[str, Any]) -> None:
        seconds = time.perf_counter() - arrived
        name = note.get("model", "")
        self.metrics.requests.labels(name, status).inc()
        if "rows" in note:
            self.metrics.seconds.labels(name).observe(seconds)
        self.journal("request", status=status, ms=round(seconds * 1e3, 3), **note)


async def _infer(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    raise AssertionError("inference is answered by the app itself, which notes how it went")


async def _metadata(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    model = slot.model
    return json_reply(
        {
            "name": slot.name,
            "versions": [model.version],
            "platform": "onnx_onnxv1",
            "inputs": metadata(model.inputs),
            "outputs": metadata(model.outputs),
        }
    )


async def _ready(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    return _health(app)


async def _config(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    limits = app.limits
    return json_reply(
        {
            "name": slot.name,
            "platform": "onnx_onnxv1",
            "max_batch_size": limits.max_batch if slot.model.batchable else 0,
            "dynamic_batching": {"max_queue_delay_microseconds": int(limits.batch_delay_ms * 1e3)},
            "instance_group": [{"kind": "KIND_CPU", "count": slot.queue.instances}],
        }
    )


async def _load(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    """Triton's `load`: looks at the files of the model again. A refusal says so; its reason stands in the log."""
    await read_body(receive, headers, app.limits)
    if not await app.models.refresh(slot, force=True):
        raise RequestError(
            409, f"model {slot.name!r}: the file was refused, and version {slot.model.version} serves on."
        )
    return json_reply({"name": slot.name, "version": slot.model.version})


async def _shadow(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    if slot.shadow is None:
        raise RequestError(404, f"model {slot.name!r} has no shadow.")
    return json_reply({"version": slot.shadow.model.version, **as_plain(slot.shadow.seen())})


async def _canary(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    if slot.canary is None:
        raise RequestError(404, f"model {slot.name!r} has no canary.")
    return json_reply({"version": slot.canary.model.version, **as_plain(slot.canary.seen())})


async def _labels(app: App, slot: Slot, receive: Receive, headers: Mapping[bytes, bytes]) -> Reply:
    if slot.shadow is None and slot.canary is None:
        raise RequestError(404, f"model {slot.name!r} has no shadow and no canary.")
    pairs = labels_of(read_object(await read_body(receive, headers, app.limits)))
    return json_reply({"matched": sum(slot.label(one, label) for one, label in pairs), "given": len(pairs)})


def _health(app: App) -> Reply:
    if app.draining:
        raise RequestError(503, "this server is ending; go to another.", retry_after_s=1)
    return json_reply({"ready": True})


def _index(app: App) -> Reply:
    return json_reply(
        [
            {
                "name": slot.name,
                "version": slot.model.version,
                "state": "READY",
                "reason": "a newer file was refused" if slot.refused else "",
            }
            for slot in app.models
        ]
    )


def _schema(app: App) -> Reply:
    return json_reply(schema({slot.name: slot.model.inputs for slot in app.models}, app.token is not None))


def _server(app: App) -> Reply:
    return json_reply({"name": "paring", "version": paring.__version__, "extensions": EXTENSIONS})


def _address(parts: list[str]) -> tuple[str, str | None, str]:
    """(model, version or None, action) of `NAME[/versions/VERSION][/ACTION]`."""
    name, *rest = parts or [""]
    version = None
    if len(rest) > 1 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    return name, version, "/".join(rest)


def _only(wanted: str, method: str) -> None:
    if method != wanted:
        raise RequestError(405, f"this path takes {wanted} only.")


def _challenge(error: RequestError) -> tuple[Header, ...]:
    if error.status == 405:
        return ((b"allow", b"POST" if "POST" in str(error) else b"GET"),)
    return ((b"www-authenticate", b"Bearer"),) if error.status == 401 else ()


PLAIN: Mapping[tuple[str, ...], tuple[str, Callable[[App], Reply]]] = {
    ("v2",): ("GET", _server),
    ("v2", ""): ("GET", _server),
    ("v2", "health", "live"): ("GET", lambda app: json_reply({"live": True})),
    ("v2", "health", "ready"): ("GET", _health),
    ("v2", "repository", "index"): ("POST", _index),
    ("metrics",): ("GET", lambda app: Reply(200, app.metrics.page(), ((b"content-type", CONTENT_TYPE),))),
    ("openapi.json",): ("GET", _schema),
}
ENDPOINTS: Mapping[str, tuple[str, Endpoint]] = {
    "": ("GET", _metadata),
    "ready": ("GET", _ready),
    "config": ("GET", _config),
    "infer": ("POST", _infer),
    "shadow": ("GET", _shadow),
    "canary": ("GET", _canary),
    "labels": ("POST", _labels),
}
CONTROLS: Mapping[str, tuple[str, Endpoint]] = {"load": ("POST", _load)}
