"""What nobody thought of: requests from the schema by schemathesis, and good ones bent at random."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.serve.asking import infer
from tests.serve.models import Served, linear, lookup, serving
from tests.serve.mutants import mutants


def test_bent_requests_are_refused_with_words(server: Served) -> None:
    seen: Counter[int] = Counter()
    for body, headers in mutants(400):
        got = infer(server.url, body, **headers)
        seen[got.status] += 1
        assert got.status in (200, 400, 413, 415, 422), (got, body[:300], headers)
        if got.status != 200:
            assert got.error.endswith(".") and not [word for word in ("/tmp", ".py", "Traceback") if word in got.error]
    assert seen[200] > 10 and seen[400] > 200


def test_schemathesis_finds_no_failure(tmp_path: Path) -> None:
    files = {"linear": linear(tmp_path / "linear.onnx"), "lookup": lookup(tmp_path / "lookup.onnx")}
    with serving(limits={"head_timeout_s": 2.0}, **files) as server:
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"]
        # A schema cannot say that data must fit its shape: that check alone would call our 400 a failure.
        options = (
            "--max-examples 5 --seed 1 --no-color --phases coverage,fuzzing --exclude-checks positive_data_acceptance"
        )
        done = subprocess.run([*command, *options.split()], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:]
        counts = [line for line in server.app.metrics.page().decode().splitlines() if "paring_requests_total{" in line]
    assert sum(float(line.split()[-1]) for line in counts) > 150
    assert not [line for line in counts if 'status="5' in line]
