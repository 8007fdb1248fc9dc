"""A shadow: it answers nobody, and what is said of it holds whenever one looks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paring.errors import EngineError, SettingError
from paring.serve.batcher import Ran
from paring.serve.model import open_model
from paring.serve.shadow import MOST_WAITING, Shadow, agreeing, verdict
from tests.serve.asking import ask, infer
from tests.serve.models import W, linear, lookup, serving


def asked(x: np.ndarray, request_id: str = "") -> dict[str, Any]:
    return {
        "id": request_id,
        "inputs": [{"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}],
    }


def test_live_traffic_is_compared_and_answered_by_the_first(tmp_path: Path) -> None:
    other = W + np.array([[0, 0], [0, 0], [0, 1.5]], np.float32)
    rng = np.random.default_rng(0)
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        shadow = Shadow(open_model(linear(tmp_path / "other.onnx", other)), fraction=1.0, margin=0.05)
        server.app.models.add_shadow("linear", shadow)
        labels, agreed, drops = [], [], []
        for number in range(60):
            x = rng.normal(size=(1, 3)).astype(np.float32)
            got = infer(server.url, asked(x, str(number)))
            assert got.json["outputs"][0]["data"] == pytest.approx((x @ W).ravel().tolist(), rel=1e-5)
            while shadow.batches <= number:  # it may lag behind, and would then skip
                time.sleep(0.001)
            ours, theirs = int((x @ W).argmax()), int((x @ other).argmax())
            agreed.append(ours == theirs)
            drops.append(1 - int(ours == theirs))
            labels.append({"id": str(number), "label": ours})
        shadow.close()
        told = ask(server.url, "POST", "/v2/models/linear/labels", json.dumps({"labels": labels}).encode()).json
        assert told == {"matched": 60, "given": 60}
        again = ask(server.url, "POST", "/v2/models/linear/labels", json.dumps({"labels": labels[:2]}).encode()).json
        assert again["matched"] == 0  # a label counts once
        seen = ask(server.url, "GET", "/v2/models/linear/shadow").json
        assert seen["rows"] == seen["labels"] == 60
        assert seen["agreement"] == pytest.approx(np.mean(agreed)) and seen["drop"] == pytest.approx(np.mean(drops))
        assert seen["verdict"] == "worse" and seen["drop_interval"][0] > 0.05
        assert seen["speedup_interval"][0] < seen["speedup"] < seen["speedup_interval"][1]


def test_a_twin_is_found_as_good_without_labels(tmp_path: Path) -> None:
    model = open_model(linear(tmp_path / "linear.onnx"))
    shadow = Shadow(model, fraction=1.0, margin=0.05)
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    shadow.offer(Ran(model, {"x": x}, model.run({"x": x}), 200, 0.1), [("", 200)])
    shadow.close()
    assert shadow.seen().verdict == "as good" and shadow.seen().agreement == 1.0


def test_a_slow_shadow_is_left_behind_and_a_share_is_a_share(tmp_path: Path) -> None:
    model = open_model(linear(tmp_path / "linear.onnx"))
    ran = Ran(model, {"x": np.ones((1, 3), np.float32)}, {"y": np.ones((1, 2), np.float32)}, 1, 0.1)
    shadow = Shadow(model, fraction=0.25)
    shadow._waiting = MOST_WAITING  # as if the thread hung
    for _ in range(1000):
        shadow.offer(ran, [("", 1)])
    assert shadow.skipped == pytest.approx(250, abs=60) and shadow.batches == 0


@pytest.mark.parametrize(
    ("agreement", "drop", "expected"),
    [
        ((0.995, 1.0), (-1.0, 1.0), "as good"),
        ((0.5, 0.9), (-0.02, 0.005), "as good"),
        ((0.5, 0.9), (0.02, 0.4), "worse"),
        ((0.5, 0.9), (-1.0, 1.0), "different"),
        ((0.9, 1.0), (-1.0, 1.0), "undecided"),
    ],
)
def test_verdicts(agreement: tuple[float, float], drop: tuple[float, float], expected: str) -> None:
    assert verdict(agreement, drop, 0.01) == expected


def test_numbers_agree_when_they_are_close() -> None:
    ours = np.array([[1.0], [2.0], [4.0]])
    assert agreeing(ours, ours * np.array([[1.001], [1.5], [1.0]])).tolist() == [1.0, 0.0, 1.0]


def test_mistakes(tmp_path: Path) -> None:
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        with pytest.raises(EngineError, match="cannot be compared"):
            server.app.models.add_shadow("linear", Shadow(open_model(lookup(tmp_path / "lookup.onnx"))))
        assert ask(server.url, "GET", "/v2/models/linear/shadow").status == 404
        server.app.models.add_shadow("linear", Shadow(server.app.models.find("linear").model))
        for body in (
            b"[]",
            b'{"labels": 1}',
            b'{"labels": [{"id": 1, "label": 1}]}',
            b'{"labels": [{"id": "1", "label": 0.5}]}',
        ):
            assert ask(server.url, "POST", "/v2/models/linear/labels", body).status == 400
        assert ask(server.url, "GET", "/v2/models/linear/shadow").json["agreement"] is None
    with pytest.raises(SettingError, match="fraction is within"):
        Shadow(server.app.models.find("linear").model, fraction=0.0)
