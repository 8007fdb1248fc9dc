from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from paring.cli.serve import replicas_of
from paring.errors import SettingError
from paring.serve.limits import Limits
from paring.serve.model import Choice
from paring.serve.on_ray import Living, Replica, Replicas
from tests.serve.asking import ask
from tests.serve.models import linear

BODY = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 1, 1]}]}'


def test_replicas_are_two_numbers_or_one() -> None:
    assert replicas_of("1-4") == Replicas(1, 4)
    assert replicas_of("3") == Replicas(3, 3)
    for wrong, message in (("a-b", "two whole numbers"), ("4-1", "4 to 1"), ("0-2", "0 to 2")):
        with pytest.raises(SettingError, match=message):
            replicas_of(wrong)
    settings = Replicas(2, 5, busy_at=8).settings()
    assert settings["autoscaling_config"] == {"min_replicas": 2, "max_replicas": 5, "target_ongoing_requests": 8}
    assert settings["max_ongoing_requests"] >= 8


async def _lived(living: Living) -> list[dict[str, Any]]:
    """Startup, one question, shutdown, as Ray's wrapper would do."""
    sent: list[dict[str, Any]] = []
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: Any) -> None:
        sent.append(message)

    life = asyncio.create_task(living({"type": "lifespan"}, events.get, send))
    await events.put({"type": "lifespan.startup"})
    while not sent:
        await asyncio.sleep(0.01)
    body = iter([{"type": "http.request", "body": BODY, "more_body": False}])

    async def receive() -> Any:
        return next(body)

    scope = {"type": "http", "method": "POST", "path": "/v2/models/linear/infer", "headers": []}
    await living(scope, receive, send)
    await events.put({"type": "lifespan.shutdown"})
    await life
    return sent


def test_a_replica_lives_by_its_lifespan(tmp_path: Path) -> None:
    replica = Replica({"linear": linear(tmp_path / "linear.onnx")}, Choice(), Limits(), log="none")
    sent = asyncio.run(_lived(replica()))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete", "http.response.start", "http.response.body", "lifespan.shutdown.complete",
    ]  # fmt: skip
    assert sent[1]["status"] == 200


def test_the_server_on_ray(tmp_path: Path) -> None:
    pytest.importorskip(
        "starlette", reason="ray[serve] is not installed: pip install 'ray[serve]'", exc_type=ImportError
    )
    path, port = linear(tmp_path / "linear.onnx"), _free_port()
    command = [sys.executable, "-m", "paring", "serve", str(path), "--ray", "local", "--port", str(port)]
    child = subprocess.Popen([*command, "--replicas", "1-2"], env={**os.environ, "OMP_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        _until_ready(url, child)
        got = ask(url, "POST", "/v2/models/linear/infer", BODY)
        assert got.status == 200
        assert got.json["outputs"][0]["shape"] == [1, 2]
        assert ask(url, "POST", "/v2/models/other/infer", BODY).status == 404
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()


def _until_ready(url: str, child: subprocess.Popen[bytes], patience_s: float = 120.0) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        assert child.poll() is None, "the server ended"
        try:
            if ask(url, "GET", "/v2/health/ready").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError("not ready in time")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
