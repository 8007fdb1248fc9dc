"""One candidate judged by its own file, end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import paring.judge.judge
from paring import Bench, Metric, Recipe, Target, compress
from paring.core.objective import Supervised
from paring.core.stream import drain
from paring.distill.response import Response
from paring.engines import installed_engines, open_session
from paring.errors import CorruptFileError, EngineError, ParityError, TaskError
from paring.finetune import Finetune
from paring.judge.bench import timed_inputs
from paring.judge.file import measure_file
from paring.judge.judge import headline, judge
from paring.judge.record import Judged, load_measurement, save_measurement
from paring.measure.quality import file_outputs
from paring.measure.slices import train_gap, training_examples
from paring.report.results import row
from tests.nets import dict_task
from tests.runs import NARROW, SHORT, run_in, tiny_task

BOTH = replace(SHORT, engines=("onnxruntime", "openvino", "torch"))
DESIGN_ROW = set(
    """name recipe metric_name metric drop drop_interval num_params macs file_bytes coded_bytes peak_memory_bytes
    engine device precision threads batch_size throughput_per_s latency_ms speedup speedup_eager roofline_multiple
    verdict within_budget targets""".split()  # noqa: SIM905
)
OURS = {"split", "num_examples", "selection", "static_shapes", "noise_floor", "refused"}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Judged, Judged]:
    """Baseline and a narrower net, in both engines and eager; the task's model, in training mode, stays as it was."""
    task, base, found = tiny_task(), None, []
    task.model.train()
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    for recipe in (Recipe((), "baseline"), NARROW):
        folder = tmp_path_factory.mktemp("judged")
        candidate = compress(task, recipe)
        base = Judged(candidate, folder, drain(judge(candidate, task, folder, BOTH, base)))
        found.append(base)
    assert task.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in task.model.state_dict().items())
    return found[0], found[1]


def test_every_target_and_eager_is_timed_and_answers_alike(judged: tuple[Judged, Judged]) -> None:
    measured = judged[1].measurement
    wanted = {str(target) for target in BOTH.targets()} | {"torch fp32"}
    assert {str(entry.target) for entry in measured.targets} == wanted
    assert measured.target in BOTH.targets()
    fastest = min((e for e in measured.targets if e.target.engine != "torch"), key=lambda e: e.latency_ms["p50"])
    assert fastest.target == measured.target
    exact = [entry for entry in measured.targets if entry.target.engine != "torch"]
    assert all(entry.parity_error is not None and entry.parity_error < 1e-4 for entry in exact)
    assert measured.refused == {}


def test_figures_are_those_of_the_file(judged: tuple[Judged, Judged]) -> None:
    base, narrow = (one.measurement for one in judged)
    assert [one.measurement.file_bytes for one in judged] == [one.model.stat().st_size for one in judged]
    assert (base.num_params, narrow.num_params) == (8 * 16 + 16 + 16 * 3 + 3, 8 * 8 + 8 + 8 * 3 + 3)
    assert base.verdict == "baseline" and base.quality.drop == 0
    assert narrow.quality.drop == pytest.approx(base.quality.metric - narrow.quality.metric)
    assert narrow.speedup.low <= narrow.speedup.ratio <= narrow.speedup.high
    assert narrow.peak_memory_bytes is not None and narrow.peak_memory_bytes >= 0


def test_a_row_has_the_keys_that_programs_rely_on(judged: tuple[Judged, Judged]) -> None:
    shown = row(judged[1].measurement)
    assert shown.keys() >= DESIGN_ROW | OURS
    assert shown["latency_ms"].keys() == {"p50", "p90", "p99"}
    assert shown["speedup"].keys() == shown["speedup_eager"].keys() == {"ratio", "low", "high"}
    assert all(entry.keys() >= {"engine", "precision", "threads", "batch_size", "latency_ms", "metric", "drop"}
               for entry in shown["targets"])  # fmt: skip
    assert shown["recipe"] == ["prune.channels"]
    json.dumps(shown, allow_nan=False)


def test_a_measurement_round_trips(judged: tuple[Judged, Judged], tmp_path: Path) -> None:
    measured = judged[1].measurement
    save_measurement(measured, tmp_path)
    assert load_measurement(tmp_path) == measured == load_measurement(judged[1].folder)


@pytest.mark.parametrize("text", ["", "{}", '{"name": 3'])
def test_a_damaged_measurement_says_what_to_remove(tmp_path: Path, text: str) -> None:
    (tmp_path / "measurement.json").write_text(text)
    with pytest.raises(CorruptFileError, match=r"cannot be read as a measurement\. Remove"):
        load_measurement(tmp_path)


def test_headline_looks_at_test_and_says_where_there_is_none(judged: tuple[Judged, Judged]) -> None:
    seen = headline(judged[1], judged[0], tiny_task()).headline
    unseen = headline(judged[1], judged[0], tiny_task(test=None)).headline
    assert seen is not None and unseen is not None
    assert (seen.split, unseen.split) == ("test", "validation")
    assert judged[1].measurement.headline is None


def test_headline_is_of_the_file_against_the_baseline_and_its_gap_of_the_file(judged: tuple[Judged, Judged]) -> None:
    task, (baseline, own) = tiny_task(), judged
    seen = headline(own, baseline, task).headline
    assert seen is not None and task.test is not None
    first, second = (open_session(one.model, one.measurement.target) for one in judged)
    before, after = (task.metric(*file_outputs(one, task.test)) for one in (first, second))
    assert (seen.metric, seen.drop) == (after, task.metric.drop(before, after))
    shown = training_examples(task, own.measurement.quality.num_examples)
    assert seen.train_gap == train_gap(task, *file_outputs(second, shown), after)


class Wrong:
    """A session that answers one too much."""

    def __init__(self, session: Any) -> None:
        self.session, self.input_names = session, session.input_names

    def run(self, inputs: Any) -> list[Any]:
        return [output + np.float32(1) for output in self.session.run(inputs)]

    def prepare(self, inputs: Any) -> Any:
        return self.session.prepare(inputs)


def wrong_on(*engines: str) -> Any:
    def open_wrongly(path: Path, target: Target, **options: Any) -> Any:
        session = open_session(path, target, **options)
        return Wrong(session) if target.engine in engines else session

    return open_wrongly


@pytest.mark.skipif("openvino" not in installed_engines(), reason="needs two engines")
def test_an_engine_that_computes_something_else_is_refused_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paring.judge.judge, "open_session", wrong_on("openvino"))
    task = tiny_task()
    measured = drain(
        judge(compress(task, Recipe()), task, tmp_path, replace(BOTH, engines=("onnxruntime", "openvino")))
    )
    assert measured.refused.keys() == {str(t) for t in BOTH.targets() if t.engine == "openvino"}
    assert all("its outputs differ from the model's" in why for why in measured.refused.values())
    assert {entry.target.engine for entry in measured.targets} == {"onnxruntime"}
    assert row(measured)["refused"] == measured.refused


def test_a_file_that_every_engine_computes_wrongly_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paring.judge.judge, "open_session", wrong_on("onnxruntime", "openvino"))
    with pytest.raises(ParityError, match=r"differ from the model's .* The file was not kept"):
        run_in(tmp_path, (NARROW,))
    assert list(tmp_path.rglob("*.onnx")) == []
    assert list((tmp_path / "candidates").iterdir()) == []


def test_timed_inputs_have_the_size_asked_for() -> None:
    assert timed_inputs(tiny_task(), 100).shape == (100, 8)  # type: ignore[union-attr]
    sized = timed_inputs(dict_task(), 3)
    assert {name: tensor.shape[0] for name, tensor in sized.items()} == {"tokens": 3, "mask": 3}  # type: ignore[union-attr]


def test_a_bench_without_an_engine_that_runs_files_is_refused() -> None:
    with pytest.raises(EngineError, match="none of the engines torch runs files here"):
        Bench(engines=("torch",)).targets()


def test_a_file_alone_is_measured_with_and_without_a_task(judged: tuple[Judged, Judged]) -> None:
    alone = measure_file(judged[1].model, SHORT)
    assert alone["file_bytes"] == judged[1].model.stat().st_size
    assert [entry["metric"] for entry in alone["targets"]] == [None]
    known = measure_file(judged[1].model, SHORT, tiny_task())
    assert (known["split"], known["metric_name"]) == ("test", "accuracy")
    wanted = headline(judged[1], judged[0], tiny_task()).headline
    assert wanted is not None and known["targets"][0]["metric"] == pytest.approx(wanted.metric)


def test_a_metric_that_is_no_number_is_refused(judged: tuple[Judged, Judged]) -> None:
    metric = Metric("share", lambda o, t: float("nan"), per_example=lambda o, t: torch.full((len(t),), torch.nan))
    with pytest.raises(TaskError, match="metric share: it is nan on the 96 examples of test"):
        headline(judged[1], judged[0], tiny_task(metric=metric))


def test_a_metric_that_fails_says_on_what() -> None:
    metric = Metric("odd", lambda outputs, targets: 1 / 0)
    with pytest.raises(TaskError, match=r"metric odd: it fails on outputs \(2, 8\) .* ZeroDivisionError"):
        metric(torch.zeros(2, 8), torch.zeros(2))


def test_a_loss_that_fails_says_on_what() -> None:
    task = tiny_task(loss=lambda outputs, targets: torch.nn.functional.cross_entropy(outputs, targets.double()))
    for objective in (Supervised(), Response()):
        with pytest.raises(
            TaskError, match=r"task\.loss: it fails on outputs \(32, 3\), targets \(32,\) torch\.int64: "
        ):
            compress(task, Recipe((Finetune(objective=objective),)))
