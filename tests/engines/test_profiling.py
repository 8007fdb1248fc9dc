"""What engines say of their own time: names and counts, never how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paring.engines.profiling as room
from paring.core.target import Target
from paring.engines.profiling import onnxruntime_times, openvino_times
from paring.errors import EngineError

INPUTS = {"x": np.ones((2, 3), np.float32), "offset": np.ones(3, np.int64)}
TIMES = {"onnxruntime": onnxruntime_times, "openvino": openvino_times}


@pytest.mark.parametrize("engine", TIMES)
def test_every_operator_is_told_once_with_a_mean_over_calls(engine: str, affine_file: Path) -> None:
    times = TIMES[engine](affine_file, Target(engine), INPUTS, calls=3)  # type: ignore[arg-type]
    names = [(event.name, event.kind) for event in times.events]
    assert len(set(names)) == len(names) > 0
    assert times.call_ms > 0 and all(event.ms >= 0 for event in times.events)
    kinds = {kind for _, kind in names}
    assert kinds & {"MatMul", "Gemm", "FullyConnected"}


@pytest.mark.parametrize("engine", TIMES)
def test_what_does_not_fit_is_one_line(engine: str, affine_file: Path) -> None:
    with pytest.raises(EngineError, match="input 'offset' is missing"):
        TIMES[engine](affine_file, Target(engine), {"x": INPUTS["x"]})  # type: ignore[arg-type]


def test_openvino_names_the_nodes_behind_an_operator_and_binds_shapes(affine_file: Path) -> None:
    shapes = {name: array.shape for name, array in INPUTS.items()}
    times = openvino_times(affine_file, Target("openvino"), INPUTS, calls=1, static=shapes)
    assert any(event.parts for event in times.events)


class FakeSession:
    """Leaves a profile of two calls behind: the first takes ten times as long, and nodes come before and after it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.native = folder, self

    def run(self, inputs: Any) -> None:
        pass

    def end_profiling(self) -> str:
        import json

        def node(ts: int, dur: int, name: str = "first") -> dict[str, Any]:
            return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": "MatMul"}}

        events = [
            {"cat": "Session", "name": "model_run", "ts": 2000, "dur": 400},  # in no order of time
            {"cat": "Session", "name": "model_run", "ts": 0, "dur": 4000},
            node(10, 3000), node(2010, 300), node(2400, 50, "second"),
            {"cat": "Node", "name": "first_fence_before", "ts": 2005, "dur": 7, "args": {"op_name": "MatMul"}},
        ]  # fmt: skip
        (self.folder / "profile.json").write_text(json.dumps(events))
        return str(self.folder / "profile.json")


def test_the_first_call_and_what_is_no_kernel_do_not_count(
    affine_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    import paring.engines.onnxruntime as engine

    def opened(path: Path, target: Target, *, exact: bool, profile: Path) -> FakeSession:
        onnx.save(onnx.load(affine_file), profile / engine.OPTIMIZED)
        return FakeSession(tmp_path)

    monkeypatch.setattr(engine, "open_onnxruntime", opened)
    times = room.onnxruntime_times(affine_file, Target(), INPUTS, calls=1)
    assert times.call_ms == pytest.approx(0.4)
    assert {event.name: event.ms for event in times.events} == pytest.approx({"first": 0.3, "second": 0.05})
