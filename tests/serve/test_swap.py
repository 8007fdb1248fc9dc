"""A file that changes under a server: taken whole, or refused while the old one serves on."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from paring.errors import CorruptFileError, EngineError, SettingError
from paring.serve.model import open_model
from paring.serve.names import named_paths
from tests.serve.asking import ask, infer
from tests.serve.models import Served, W, X, artifact, linear, lookup, serving

ASKED = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": X.ravel().tolist()}]}


def answer(server: Served) -> list[float]:
    got = infer(server.url, ASKED)
    assert got.status == 200
    values: list[float] = got.json["outputs"][0]["data"]
    return values


def reload(server: Served) -> int:
    return ask(server.url, "POST", "/v2/repository/models/linear/load", b"{}").status


def test_a_new_file_is_taken(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "model")
    with serving(linear=folder) as server:
        before = infer(server.url, ASKED).json["model_version"]
        artifact(folder, 2 * W)
        assert reload(server) == 200
        assert answer(server) == (X @ (2 * W)).ravel().tolist()
        assert infer(server.url, ASKED).json["model_version"] != before
        assert (
            'paring_swaps_total{model="linear",result="taken"} 1.0' in ask(server.url, "GET", "/metrics").body.decode()
        )
    assert '"event": "swapped"' in server.log.getvalue()


def test_a_file_that_changes_is_noticed_without_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.serve.http.WATCH_S", 0.01)
    folder = artifact(tmp_path / "model")
    with serving(linear=folder) as server:
        artifact(folder, 2 * W)
        swapped = threading.Event()
        for _ in range(500):
            if answer(server)[0] == float((X @ (2 * W))[0, 0]):
                swapped.set()
                break
        assert swapped.is_set()


@pytest.mark.parametrize("harm", ["other bytes", "cut short", "gone", "no manifest", "other inputs"])
def test_what_does_not_fit_is_refused_and_the_old_one_serves_on(tmp_path: Path, harm: str) -> None:
    folder = artifact(tmp_path / "model")
    file = folder / "model.onnx"
    with serving(linear=folder) as server:
        if harm == "other bytes":
            linear(file, 3 * W)
        elif harm == "cut short":
            file.write_bytes(file.read_bytes()[:-9])
        elif harm == "gone":
            file.unlink()
        elif harm == "no manifest":
            (folder / "manifest.json").unlink()
        else:
            artifact(folder, np.ones((3, 5), np.float32))
        assert reload(server) == 409
        assert answer(server) == (X @ W).ravel().tolist()
        index = ask(server.url, "POST", "/v2/repository/index").json
        assert index[0]["reason"] == "a newer file was refused"
    assert '"event": "refused"' in server.log.getvalue()


def test_mended_after_a_refusal(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "model")
    with serving(linear=folder) as server:
        linear(folder / "model.onnx", 3 * W)
        assert reload(server) == 409
        artifact(folder, 3 * W)
        assert reload(server) == 200
        assert answer(server) == (X @ (3 * W)).ravel().tolist()


def test_swaps_under_load_lose_nothing(tmp_path: Path) -> None:
    """Every answer is that of one of the two files, whole, and the version says of which."""
    folder = artifact(tmp_path / "model")
    seen: set[tuple[str, float]] = set()
    problems: list[object] = []
    with serving(linear=folder) as server:
        stop = threading.Event()

        def keep_asking() -> None:
            while not stop.is_set():
                got = infer(server.url, ASKED)
                if got.status != 200:
                    problems.append(got)
                else:
                    seen.add((got.json["model_version"], got.json["outputs"][0]["data"][0]))

        askers = [threading.Thread(target=keep_asking) for _ in range(3)]
        for asker in askers:
            asker.start()
        for turn in range(1, 7):
            artifact(folder, (1 + turn % 2) * W)
            assert reload(server) == 200
        stop.set()
        for asker in askers:
            asker.join()
    assert problems == []
    assert {value for _, value in seen} == {5.0, 10.0}
    assert len(seen) == 2


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_both_engines_answer_alike(tmp_path: Path, engine: str) -> None:
    with serving(engine=engine, linear=linear(tmp_path / "linear.onnx")) as server:
        assert answer(server) == (X @ W).ravel().tolist()


def test_a_broken_artifact_is_not_opened(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "model")
    linear(folder / "model.onnx", 3 * W)
    with pytest.raises(CorruptFileError, match="not the file that was exported"):
        open_model(folder)
    with pytest.raises(EngineError, match="there is no such file"):
        open_model(tmp_path / "none.onnx")


def test_whether_rows_may_share_a_call_shows_in_the_file(tmp_path: Path) -> None:
    assert open_model(lookup(tmp_path / "lookup.onnx")).batchable
    assert open_model(linear(tmp_path / "linear.onnx")).version == open_model(linear(tmp_path / "again.onnx")).version


def test_names(tmp_path: Path) -> None:
    (tmp_path / "run" / "artifact").mkdir(parents=True)
    (tmp_path / "small.onnx").touch()
    texts = [f"encoder={tmp_path}", f"{tmp_path}/run/artifact", f"{tmp_path}/small.onnx"]
    assert list(named_paths(texts)) == ["encoder", "run", "small"]
    with pytest.raises(SettingError, match="given twice"):
        named_paths([texts[2], texts[2]])
    with pytest.raises(SettingError, match="must be letters"):
        named_paths([f"a/b={tmp_path}"])
    with pytest.raises(EngineError, match="there is nothing there"):
        named_paths([f"{tmp_path}/none"])
