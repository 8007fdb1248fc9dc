"""Serving: overhead, batching, rate within a bound, soak, overload, fuzzing. Rows go to results/serve.json.

    python benchmarks/serve.py fuzz                     # 10,000 bent requests and schemathesis; no clock
    python benchmarks/serve.py --time overhead batching rate overload soak    # on a quiet machine
    python benchmarks/serve.py --time --short ...       # seconds instead of minutes, into results/serve-short.json
    python benchmarks/serve.py --time overhead --peers PYTHON    # a Python with fastapi, litserve and ray[serve] beside

The server runs on the first core this process may use, the client on the last. A row that exists is not run again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from kept import commit
from serve_fuzz import fuzz
from serve_page import page
from serve_process import CORES, server

from paring.artifacts.manifest import versions
from paring.core.target import Target
from paring.engines import machine, open_session, precisions
from paring.traffic.client import Connection, Pool, closed_loop, run_rung
from paring.traffic.ladder import climb
from paring.traffic.target import Address, address_of, request_for

HOME = Path(__file__).parents[1]
RESULTS = HOME / "benchmarks/results"
MODELS = HOME / "out/benchmarks/serve"
LENGTH, P99_MS, PATIENCE_S = 128, 100.0, 120.0
SERVERS = ("asyncio", "uvicorn", "starlette", "fastapi", "litserve", "ray")
Row = dict[str, Any]


def encoder(kind: str) -> Path:
    """The text encoder as a file: `teacher` in fp32, or `compressed` (int8). Made once."""
    path = MODELS / f"{kind}.onnx"
    if not path.is_file():
        from paring import Recipe, compress, rebuild
        from paring.artifacts.onnx import write_onnx
        from paring.quantize.static import Static
        from paring.studies.encoder import encoder_task

        task = encoder_task()
        recipe = Recipe((Static(),)) if kind == "compressed" else Recipe(())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_onnx(rebuild(compress(task, recipe), task), task, path)
    return path


def tiny() -> Path:
    """A model that takes no time, so that what is left is the server."""
    from onnx import TensorProto, helper, numpy_helper, save

    path = MODELS / "tiny.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 16]) for name in "xy")
    weight = numpy_helper.from_array(np.eye(16, dtype=np.float32), "W")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "W"], ["y"])], "g", [x], [y], [weight])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def text_request(address: Address, length: int = LENGTH) -> bytes:
    shape = (1, length)
    return request_for(address, dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), shape))


class Waking(Pool):
    """Says when an answer came, so that nobody has to look for it."""

    woken: asyncio.Event

    def answered(self, connection: Connection, status: int, *, closes: bool) -> None:
        super().answered(connection, status, closes=closes)
        self.woken.set()


def one_by_one(address: Address, request: bytes, count: int) -> list[float]:
    """Milliseconds of so many requests, each sent when the one before was answered."""

    async def body() -> list[float]:
        pool = Waking(address, request, time.perf_counter())
        await pool.warm(1)
        for _ in range(count):
            pool.woken = asyncio.Event()
            pool.fire(time.perf_counter() - pool.start)
            await pool.woken.wait()
        await pool.close()
        assert all(one.status == 200 for one in pool.outcomes)
        return [one.latency_ms for one in pool.outcomes]

    return asyncio.run(asyncio.wait_for(body(), PATIENCE_S))[count // 10 :]


def in_process(path: Path, target: Target, inputs: dict[str, Any], count: int) -> list[float]:
    session, times = open_session(path, target), []
    for _ in range(count):
        start = time.perf_counter()
        session.run(inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return times[count // 10 :]


def spread(values: list[float]) -> dict[str, float]:
    return dict(zip(("p50", "p90", "p99"), (float(v) for v in np.percentile(values, (50, 90, 99))), strict=True))


def overhead(short: bool, peers: str | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Client's latency at batch 1 less the in-process call, for `paring serve` and for other libraries."""
    count = 300 if short else 5000

    def ours() -> Row:
        path = tiny()
        inside = spread(in_process(path, Target(), {"x": np.ones((1, 16), np.float32)}, count))
        with server(f"tiny={path}") as (url, _):
            address = address_of(url)
            outside = spread(one_by_one(address, request_for(address, {}), count))
        return {"in_process_ms": inside, "http_ms": outside, "overhead_p50_ms": outside["p50"] - inside["p50"]}

    def encoder_row() -> Row:
        path, calls = encoder("compressed"), count // 10
        inputs = {name: np.ones((1, LENGTH), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        precision = precisions("openvino")[-1] if "bf16" not in precisions("openvino") else "bf16"
        target = Target("openvino", precision)
        inside = spread(in_process(path, target, inputs, calls))
        with server(f"text={path}", "--engine", "openvino", "--precision", precision) as (url, _):
            address = address_of(url)
            outside = spread(one_by_one(address, text_request(address), calls))
        return {"in_process_ms": inside, "http_ms": outside, "overhead_p50_ms": outside["p50"] - inside["p50"]}

    yield "overhead: paring serve, a model that takes no time", ours
    yield "overhead: paring serve, the text encoder", encoder_row
    if peers is not None:
        yield "overhead: paring serve --ray, a model that takes no time", lambda: on_ray(peers, count)
    for name in SERVERS:
        python = sys.executable if name in ("asyncio", "uvicorn") else peers
        if python is not None:
            yield f"overhead: {name}", lambda name=name, python=python: peer(name, python, count)


def peer(name: str, python: str, count: int) -> Row:
    """The same tensor in and out through another server library, without batching, limits, metrics or logs.

    Bytes in and out, save in LitServe, which reads JSON.
    """
    script = Path(__file__).with_name("serve_peers.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = ["taskset", "-c", str(CORES[0]), python, str(script), name, str(tiny())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as child:
        try:
            assert child.stdout is not None
            port = next(int(line.split()[1]) for line in child.stdout if line.startswith("port "))
            # Whoever logs every request would fill the pipe and then wait for us.
            threading.Thread(target=child.stdout.read, daemon=True).start()
            until_open(port)
            x = np.ones((1, 16), np.float32)
            body = json.dumps({"x": x.tolist()}).encode() if name == "litserve" else x.tobytes()
            kind = "content-type: application/json" if name == "litserve" else "content-type: application/octet-stream"
            head = f"POST /predict HTTP/1.1\r\nhost: t\r\n{kind}\r\ncontent-length: {len(body)}"
            address = Address("127.0.0.1", port, name)
            return {"http_ms": spread(one_by_one(address, head.encode() + b"\r\n\r\n" + body, count))}
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def on_ray(python: str, count: int) -> Row:
    """Our own app as one replica of Ray Serve."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [python, "-m", "paring", "serve", f"tiny={tiny()}", "--ray", "local", "--replicas", "1"]
    environment = os.environ | {"PYTHONPATH": str(HOME / "src")}
    with subprocess.Popen(
        [*command, "--port", str(port), "--log", "events"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            assert any('"listening"' in line for line in child.stdout), "Ray Serve did not start"
            threading.Thread(target=child.stdout.read, daemon=True).start()
            address = address_of(f"http://127.0.0.1:{port}")
            return {"http_ms": spread(one_by_one(address, request_for(address, {}), count))}
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def until_open(port: int, patience_s: float = 60.0) -> None:
    """Waits for whoever said the port before it listened."""
    until = time.perf_counter() + patience_s
    while time.perf_counter() < until:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {port}")


def flags(kind: str) -> list[str]:
    """The teacher as it stands, in fp32; the compressed model where it is fastest."""
    best = "bf16" if "bf16" in precisions("openvino") else "fp32"
    return ["--engine", "openvino", "--precision", best if kind == "compressed" else "fp32", "--timeout", "2000"]


def batching(short: bool, peers: str | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Answers per second of clients without pause."""
    for kind in ("teacher", "compressed"):
        for length in (16, LENGTH):
            for size in (1, 8, 32):

                def row(kind: str = kind, size: int = size, length: int = length) -> Row:
                    with server(f"text={encoder(kind)}", *flags(kind), "--max-batch", str(size)) as (url, _):
                        address = address_of(url)
                        request = text_request(address, length)
                        closed_loop(address, request, 64, 1.0)
                        return {"answers_per_s": closed_loop(address, request, 64, 2.0 if short else 20.0)}

                yield f"batching: {kind}, {length} tokens, up to {size} rows a call", row


def rate(short: bool, peers: str | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """The highest rate within a p99 bound."""
    for kind in ("teacher", "compressed"):

        def row(kind: str = kind) -> Row:
            with server(f"{kind}={encoder(kind)}", *flags(kind)) as (url, _):
                address = address_of(url)
                seconds, rounds = (1.0, 1) if short else (15.0, 6)
                found = climb(address, text_request(address), seconds=seconds, limit_ms=P99_MS, rounds=rounds)
            return asdict(found)

        yield f"rate: {kind}, p99 below {P99_MS:g} ms", row


def overload(short: bool, peers: str | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Twice saturation, then half of it: refusals at once, accepted ones within the bound, full recovery."""

    def row() -> Row:
        seconds = 3.0 if short else 60.0
        with server(f"text={encoder('compressed')}", *flags("compressed"), "--timeout", "500") as (url, pid):
            address = address_of(url)
            request = text_request(address)
            saturation = closed_loop(address, request, 64, seconds / 3)
            rates = {"calm": 0.5, "overload": 2.0, "after": 0.5}
            rungs = {
                name: asdict(run_rung(address, request, part * saturation, seconds)) for name, part in rates.items()
            }
            assert psutil.pid_exists(pid)
        return {"saturation_per_s": saturation, "timeout_ms": 500, **rungs}

    yield "overload: twice saturation, then half", row


def soak(short: bool, peers: str | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """80 % load: errors, memory and p99 by parts."""

    def row() -> Row:
        parts, seconds = (3, 3.0) if short else (10, 60.0)
        with server(f"text={encoder('compressed')}", *flags("compressed")) as (url, pid):
            address = address_of(url)
            request = text_request(address)
            rate_per_s = 0.8 * closed_loop(address, request, 64, seconds / 2)
            process, rungs, resident = psutil.Process(pid), [], []
            for part in range(parts):
                rungs.append(asdict(run_rung(address, request, rate_per_s, seconds, part)))
                resident.append(process.memory_info().rss)
        return {
            "rate_per_s": rate_per_s,
            "parts": rungs,
            "resident_bytes": resident,
            "growth": resident[-1] / resident[0] - 1,
        }

    yield "soak: 80 % load", row


PARTS = {"overhead": overhead, "batching": batching, "rate": rate, "overload": overload, "soak": soak, "fuzz": fuzz}


def main() -> None:
    """Runs the rows of the named parts that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--time", action="store_true", help="allow the rows that need a quiet machine")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--peers", help="a Python with the peers installed")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {CORES[-1]})
    path = RESULTS / ("serve-short.json" if asked.short else "serve.json")
    results = json.loads(path.read_text()) if path.is_file() else {"rows": {}}
    for part in asked.parts:
        if part != "fuzz" and not asked.time:
            parser.error(f"{part} is timed: give --time on a quiet machine")
        for name, make in PARTS[part](asked.short, asked.peers):
            if name in results["rows"]:
                continue
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            results["rows"][name] = make() | {"commit": commit(), "cores": [CORES[0], CORES[-1]]}
            results |= {"machine": machine(), "versions": versions()}
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(results, indent=1) + "\n")
            if not asked.short:
                (HOME / "benchmarks/serve.md").write_text(page(results))


if __name__ == "__main__":
    main()
