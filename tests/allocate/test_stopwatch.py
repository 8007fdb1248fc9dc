"""Whole plans timed beside the model as it came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import paring.allocate.stopwatch
from paring.allocate.made import folded
from paring.allocate.option import Option, Unit
from paring.allocate.scene import measured_of, stopwatch_of
from paring.allocate.step import Allocate, Rulers
from paring.allocate.stopwatch import MODEL, PLAN, Stopwatch
from paring.core.stream import drain
from paring.core.target import Target
from paring.errors import CorruptFileError
from paring.measure.samples import Samples
from tests.nets import image_task
from tests.runs import tiny_task

FIRST, SECOND = ({Unit("u", ("0",)): Option(precision=precision)} for precision in ("int8", "half"))


def test_a_plan_is_timed_once_beside_the_model_as_it_came(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    task, path, written = tiny_task(), tmp_path / "plans.json", list[str]()

    def runner_of(model: object, target: Target, task: object, path: Path) -> Path:
        path.touch()
        written.append(path.name)
        return path

    def interleave(runners: dict[str, Path], **_: object) -> Samples:
        assert all(one.is_file() for one in runners.values())
        plan_ns = 3_000_000 if len(written) == 2 else 1_000_000
        wall = {MODEL: np.full((4, 2), 4_000_000), PLAN: np.full((4, 2), plan_ns)}
        return Samples(wall, {name: one.sum(1) for name, one in wall.items()}, 1, {})

    monkeypatch.setattr(paring.allocate.stopwatch, "interleave", interleave)
    monkeypatch.setattr(paring.allocate.stopwatch, "runner_of", runner_of)
    for _ in range(2):
        with Stopwatch(task.model, Target(), task, 3.0, path) as stopwatch:
            folder = Path(stopwatch._folder.name)  # type: ignore[union-attr]
            told = [drain(stopwatch.ms(choice)) for choice in (FIRST, SECOND, FIRST)]
            assert told == pytest.approx([2.25, 0.75, 2.25])
            assert not list(folder.glob("plan*"))
        assert not folder.exists()
    assert written == ["model.onnx", "plan.onnx", "plan.onnx"]


def test_a_damaged_file_is_refused_and_a_stopwatch_writes_only_while_it_is_open(tmp_path: Path) -> None:
    task, path = tiny_task(), tmp_path / "plans.json"
    with pytest.raises(AssertionError, match="a stopwatch is a context"):
        drain(Stopwatch(task.model, Target(), task, 3.0, path).ms(FIRST))
    path.write_text("[")
    with pytest.raises(CorruptFileError, match="Remove it"):
        Stopwatch(task.model, Target(), task, 3.0, path)


def test_a_plan_runs_in_the_engine_and_its_time_is_kept_by_model_and_target() -> None:
    task = image_task()
    step = Allocate(speedup=1.1, widths=(), ranks=(), num_examples=32, samples=2)
    base, rulers = folded(task.model, task.example_inputs), Rulers(task, task.model, 32)
    units, _ = step.units(base, task, width="kept")
    measured = measured_of(base, units, step.menu(), rulers.options)
    with stopwatch_of(step.menu(), measured, 2.0) as stopwatch:
        ms = drain(stopwatch.ms({unit: Option(precision="int8") for unit in units}))
        assert np.isfinite(ms) and ms > 0
    again = stopwatch_of(replace(step, ranks=(0.5,)).menu(), measured, 4.0)
    assert drain(again.ms({unit: Option(precision="int8") for unit in units})) == pytest.approx(2 * ms)
    elsewhere = stopwatch_of(replace(step, target=Target("openvino")).menu(), measured, 2.0)
    assert elsewhere.path != stopwatch.path and not elsewhere.path.is_file()
