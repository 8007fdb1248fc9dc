"""A server in a process of its own, on the first core, for benchmarks/serve.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CORES = sorted(os.sched_getaffinity(0))


@contextmanager
def server(*args: str) -> Iterator[tuple[str, int]]:
    """`paring serve ARGS` on the first core: its address and process number."""
    command = [
        "taskset",
        "-c",
        str(CORES[0]),
        sys.executable,
        "-m",
        "paring",
        "serve",
        "--port",
        "0",
        "--log",
        "events",
    ]
    with subprocess.Popen([*command, "--drain", "0.1", *args], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            for line in child.stderr:
                said = json.loads(line)
                if said["event"] == "listening":
                    break
            else:
                raise RuntimeError("the server did not start")
            yield f"http://127.0.0.1:{said['port']}", child.pid
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=60)
            assert child.returncode == 0
        finally:
            child.kill()
