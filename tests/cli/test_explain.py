"""`paring explain quantize`: every type measured, every layer ranked."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.calls import paring_in


def test_every_type_is_measured_and_every_layer_ranked(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text("from tests.runs import tiny_task\n\ntask = tiny_task\n")
    done = paring_in(tmp_path, "explain", "quantize", "tiny.py:task", "--engine", "onnxruntime", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    names = [row["name"] for row in told["rows"]]
    assert {"fp16 stored", "bf16 stored", "int8", "int8 weights only", "int4 weights only"} <= set(names)
    divergences = [one["divergence"] for one in told["sensitivity"]]
    assert divergences and divergences == sorted(divergences, reverse=True)
    assert not (tmp_path / "out").exists()


def test_another_family_is_one_line(tmp_path: Path) -> None:
    done = paring_in(tmp_path, "explain", "quantise", "tiny.py:task")
    assert done.code == 2 and "did you mean 'quantize'" in done.only_line
