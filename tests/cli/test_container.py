"""`paring pack`, `unpack` and `size` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.calls import paring_in
from tests.container.files import weights, write_model


def test_pack_size_and_unpack(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", weights())
    assert "times smaller" in paring_in(tmp_path, "pack", "model.onnx").out
    told = json.loads(paring_in(tmp_path, "size", "model.paring", "--json").out)
    assert told["coded_bytes"] == (tmp_path / "model.paring").stat().st_size
    assert {"how", "entropy_bits", "gzip_bytes", "zstd_bytes", "floor_bits"} <= told["tensors"][0].keys()
    assert "whole files" in paring_in(tmp_path, "size", "model.onnx").out
    answer = json.loads(paring_in(tmp_path, "unpack", "model.paring", "--out", "back.onnx", "--json").out)
    assert answer["file_bytes"] == model.stat().st_size
    assert (tmp_path / "back.onnx").read_bytes() == model.read_bytes()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.paring").write_bytes(b"PARING\x01nothing")
    for args in (
        ("unpack", "bad.paring"),
        ("size", "bad.paring"),
        ("pack", "gone.onnx"),
        ("pack", "bad.paring", "--out", "bad.paring"),
    ):
        call = paring_in(tmp_path, *args)
        assert call.code == 2 and ("bad.paring" in call.only_line or "gone.onnx" in call.only_line)
