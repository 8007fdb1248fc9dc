"""`paring serve` as a process of its own: what it says, what it imports, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import paring.cli.serve
from paring.errors import MissingError
from tests.serve.asking import ask, infer
from tests.serve.models import lookup

LENGTH = 64
IDS = {"name": "ids", "shape": [8, LENGTH], "datatype": "INT64", "data": [1] * 8 * LENGTH}
ASKED = json.dumps({"inputs": [IDS, IDS | {"name": "mask"}]}).encode()


@contextmanager
def process(*args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`paring serve ARGS` on a free port, and its address."""
    command = [sys.executable, "-X", "importtime", "-m", "paring", "serve", "--port", "0", *args]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stderr is not None
        imported = []
        try:
            for line in child.stderr:
                if line.startswith("import time:"):
                    imported.append(line.rpartition("|")[2].strip())
                elif json.loads(line)["event"] == "listening":
                    break
            said = json.loads(line)
            assert said["host"] == "127.0.0.1"
            assert "torch" not in imported and "onnxruntime" in imported
            threading.Thread(target=child.stderr.read, daemon=True).start()  # a full pipe would stop it
            yield child, f"http://127.0.0.1:{said['port']}"
        finally:
            child.kill()


def test_sigterm_in_mid_load_loses_no_accepted_request(tmp_path: Path) -> None:
    """Clients keep their connections and ask until they are told to leave: what was sent is answered, whole."""
    file = lookup(tmp_path / "lookup.onnx")
    with process(f"lookup={file}", "--drain", "0.5") as (child, url):
        answered, lost = [0] * 8, list[str]()

        def client(number: int) -> None:
            import http.client

            parts = urlsplit(url)
            link = http.client.HTTPConnection(parts.hostname or "", parts.port)
            while True:
                try:
                    link.request("POST", "/v2/models/lookup/infer", ASKED)
                except ConnectionError:
                    link.close()
                    return  # the port is closed, or closed while it waited in the kernel's queue: nothing was accepted
                try:
                    got = link.getresponse()
                    body = got.read()
                    assert got.status == 200 and len(json.loads(body)["outputs"][0]["data"]) == 16
                except Exception as problem:
                    lost.append(repr(problem))
                    link.close()
                    return
                answered[number] += 1
                if answered[number] == 20 and number == 0:
                    child.send_signal(signal.SIGTERM)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert child.wait(10) == 0
        assert lost == []
        assert answered[0] > 20 and all(answered)


def test_readiness_falls_before_the_port_closes(tmp_path: Path) -> None:
    with process(f"lookup={lookup(tmp_path / 'lookup.onnx')}", "--drain", "1.5") as (child, url):
        assert ask(url, "GET", "/v2/health/ready").status == 200
        child.send_signal(signal.SIGTERM)
        statuses = {ask(url, "GET", "/v2/health/ready").status for _ in range(20)}
        assert 503 in statuses
        assert ask(url, "GET", "/v2/health/live").status == 200
        assert infer(url, ASKED, "lookup").headers["connection"] == "close"
        assert child.wait(20) == 0


@pytest.mark.parametrize("name", ["prometheus_client", "uvicorn", "httptools"])
def test_what_is_not_installed_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = paring.cli.serve.find_spec
    monkeypatch.setattr(paring.cli.serve, "find_spec", lambda asked: None if asked == name else real(asked))
    with pytest.raises(MissingError, match=rf"{name} is not installed. Run: pip install 'paring\[serve\]'"):
        paring.cli.serve.serve(["x.onnx"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nowhere",), "EngineError: nowhere: there is nothing there"),
        (("--log", "loud", "x.onnx"), "unknown log 'loud'"),
        (("--engine", "onnx", "x.onnx"), "did you mean 'onnxruntime'?"),
        (("x.onnx",), "CorruptFileError"),
        (("--token-file", "none", "x.onnx"), "--token-file none: cannot be read"),
        (("--host", "203.0.113.1", "x.onnx"), "cannot be bound"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no onnx")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "paring", "serve", "--port", "0", *args]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
