"""A canary: it answers its share, and none once it is surely worse or fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from paring.errors import EngineError, SettingError
from paring.serve.canary import MOST_FAILED, Canary
from paring.serve.limits import Limits
from paring.serve.model import open_model
from tests.serve.asking import Got, ask, infer
from tests.serve.models import W, graph, linear, lookup, serving, tensor


def question(url: str, x: np.ndarray, number: int) -> Got:
    data = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    return infer(url, {"id": str(number), "inputs": [data]})


def told(url: str, labels: list[dict[str, Any]]) -> dict[str, Any]:
    assert ask(url, "POST", "/v2/models/linear/labels", json.dumps({"labels": labels}).encode()).status == 200
    seen: dict[str, Any] = ask(url, "GET", "/v2/models/linear/canary").json
    return seen


def asked(url: str, count: int, seed: int, first: int = 0) -> tuple[int, list[dict[str, Any]]]:
    """How many the canary answered, and the labels, which main always meets."""
    rng, by_canary, labels = np.random.default_rng(seed), 0, []
    for number in range(first, first + count):
        x = rng.normal(size=(1, 3)).astype(np.float32)
        got = question(url, x, number)
        assert got.status == 200
        by_canary += got.json["outputs"][0]["data"] != pytest.approx((x @ W).ravel().tolist(), rel=1e-4)
        labels.append({"id": str(number), "label": int((x @ W).argmax())})
    return by_canary, labels


def test_a_canary_that_is_worse_is_taken_back(tmp_path: Path) -> None:
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        worse = open_model(linear(tmp_path / "worse.onnx", -W))
        server.app.models.add_canary("linear", Canary(worse, Limits(), fraction=0.5, margin=0.05))
        answered, labels = asked(server.url, 80, seed=0)
        assert 20 < answered < 60
        seen = told(server.url, labels)
        assert seen["answered"] == answered and seen["labels"] == [80 - answered, answered]
        assert seen["accuracy"] == [1.0, 0.0] and seen["drop_interval"][0] > 0.05
        assert (seen["verdict"], seen["withdrawn"]) == ("worse", True)
        assert asked(server.url, 20, seed=1, first=100)[0] == 0
        assert "paring_canary_withdrawn" in ask(server.url, "GET", "/metrics").body.decode()
    assert '"event": "tried"' in server.log.getvalue()


def test_a_twin_stays_and_is_as_good_by_its_labels(tmp_path: Path) -> None:
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        twin = open_model(linear(tmp_path / "twin.onnx"))
        server.app.models.add_canary("linear", Canary(twin, Limits(), fraction=0.5, margin=0.2))
        assert told(server.url, [])["verdict"] == "undecided"
        seen = told(server.url, asked(server.url, 160, seed=0)[1])
        assert (seen["verdict"], seen["withdrawn"], seen["failed"]) == ("as good", False, 0)
        low, high = seen["speedup_interval"]
        assert low < seen["speedup"] < high


def test_what_a_canary_cannot_answer_main_does(tmp_path: Path) -> None:
    nodes = [  # a row of the table by the largest number, which no request of this test finds there
        helper.make_node("ReduceMax", ["x", "last"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["y"]),
    ]
    shape = [tensor("x", "batch", 3)], [tensor("y", "batch", 2)]
    path = graph(tmp_path / "broken.onnx", nodes, *shape, table=np.zeros((1, 2), np.float32), last=np.array([1]))
    broken = open_model(path)
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        canary = Canary(broken, Limits(), fraction=0.5)
        server.app.models.add_canary("linear", canary)
        x = np.full((2, 3), 7, np.float32)
        answers = [question(server.url, x, number) for number in range(30)]
        assert all(got.status == 200 for got in answers)
        assert all(got.json["outputs"][0]["shape"] == [2, 2] for got in answers)
        assert canary.failed == MOST_FAILED and canary.seen().verdict == "failed" and canary.withdrawn


def test_mistakes(tmp_path: Path) -> None:
    with serving(linear=linear(tmp_path / "linear.onnx")) as server:
        model = server.app.models.find("linear").model
        assert ask(server.url, "GET", "/v2/models/linear/canary").status == 404
        assert ask(server.url, "POST", "/v2/models/linear/labels", b'{"labels": []}').status == 404
        stranger = Canary(open_model(lookup(tmp_path / "lookup.onnx")), Limits())
        with pytest.raises(EngineError, match="cannot answer for it"):
            server.app.models.add_canary("linear", stranger)
        stranger.close()
        for wrong in ({"fraction": 1.0}, {"margin": 0.0}):
            with pytest.raises(SettingError, match="between 0 and 1"):
                Canary(model, Limits(), **wrong)
