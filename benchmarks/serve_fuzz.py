"""Bent requests and schemathesis against `paring serve`: rows of benchmarks/serve.py that need no clock."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serve_process import server

HOME = Path(__file__).parents[1]
Row = dict[str, Any]


def fuzz(short: bool, peers: str | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Bent requests, and schemathesis from the schema; counts of statuses."""
    sys.path.insert(0, str(HOME))
    from tests.serve.asking import infer
    from tests.serve.models import linear, lookup
    from tests.serve.mutants import mutants

    def bent() -> Row:
        seen: Counter[int] = Counter()
        slowest, leaks = 0.0, 0
        with tempfile.TemporaryDirectory() as folder, server(f"linear={linear(Path(folder) / 'l.onnx')}") as (url, _):
            for body, headers in mutants(500 if short else 10_000, seed=1):
                start = time.perf_counter()
                got = infer(url, body, **headers)
                slowest = max(slowest, time.perf_counter() - start)
                seen[got.status] += 1
                leaks += bool(re.search(rb"/tmp|/home|\.py|Traceback|site-packages", got.body)) and got.status != 200
        return {
            "statuses": dict(sorted(seen.items())),
            "requests": sum(seen.values()),
            "slowest_s": slowest,
            "leaks": leaks,
        }

    def schema() -> Row:
        with tempfile.TemporaryDirectory() as folder:
            files = [f"linear={linear(Path(folder) / 'l.onnx')}", f"lookup={lookup(Path(folder) / 'b.onnx')}"]
            with server(*files) as (url, _):
                command = [
                    str(Path(sys.executable).with_name("schemathesis")),
                    "run",
                    f"{url}/openapi.json",
                    "--no-color",
                ]
                options = f"--max-examples {5 if short else 1200} --seed 1 --phases coverage,fuzzing"
                ran = subprocess.run(
                    [*command, *options.split(), "--exclude-checks", "positive_data_acceptance"],
                    capture_output=True, text=True, cwd=folder, check=False,
                )  # fmt: skip
                page = urllib.request.urlopen(f"{url}/metrics").read().decode()
        counts: Counter[str] = Counter()
        for status, count in re.findall(r'paring_requests_total\{.*status="(\d+)"\} (\S+)', page):
            counts[status] += int(float(count))
        told = re.findall(r"\d+ generated, .*", ran.stdout)
        return {"exit": ran.returncode, "test_cases": told, "statuses": dict(counts), "requests": sum(counts.values())}

    yield "fuzz: bent requests", bent
    yield "fuzz: schemathesis", schema
