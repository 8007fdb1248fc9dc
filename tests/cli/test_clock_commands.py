"""`paring compare`, `load`, `profile` and `machine`, as a user calls them: answers, and one line for a mistake."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from unittest import mock

import pytest

import paring.cli.targets
import paring.measure.loadtest
from paring.cli.shapes import shapes_of
from paring.cli.targets import targets_of
from paring.core.target import Target
from paring.engines import devices, precisions
from paring.errors import EngineError, SettingError, UnknownNameError
from paring.measure.bandwidth import Level
from paring.measure.loadgen import Load, LoadResult
from paring.measure.peaks import Peaks, peaks_file
from tests.cli.calls import paring_in
from tests.runs import NARROW, run_in

ORT = ("--engine", "onnxruntime")
SHORT = (*ORT, "--blocks", "4", "--min-block-ms", "0.2")
MODEL = "out/artifact/model.onnx"
PEAKS = Peaks(1, {"fp32": 1e9}, (Level("L1", 1024, 1e9), Level("memory", 0, 1e9)), {"onnxruntime": 1e-9}, {"fp32": "x"})
TASKS = """from tests.runs import tiny_task, vectors

x, y = vectors()
task = tiny_task
no_test = lambda: tiny_task(test=[], validation=[])
narrow = lambda: tiny_task(model=__import__("torch").nn.Linear(4, 3), example_inputs=x[:2, :4],
                           **{name: [(x[:, :4], y)] for name in ("train", "calibration", "validation", "test")})
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, tasks beside it, and files that are no ONNX."""
    folder = tmp_path_factory.mktemp("clock")
    run_in(folder / "out", (NARROW,))
    (folder / "tiny.py").write_text(TASKS)
    whole = (folder / MODEL).read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "text.onnx").write_text("no onnx at all\n" * 20)
    (folder / "empty.onnx").write_bytes(b"")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_compare_answers_and_keeps_samples(out: Path) -> None:
    done = paring_in(out, "compare", "out/artifact", MODEL, *SHORT, "--task", "tiny.py:task", "--out", "kept", "--json")
    assert done.code == 0, done.err
    (told,) = json.loads(done.out)
    assert [(row["engine"], row["precision"], row["device"]) for row in told["rows"]] == 2 * [
        ("onnxruntime", "fp32", "cpu")
    ]
    assert told["rows"][0]["verdict"] == "baseline" and told["rows"][0]["throughput_per_s"] > 0
    assert told["rows"][1]["file_bytes"] == (out / MODEL).stat().st_size
    assert json.loads((out / "kept" / "compare.json").read_text()) == [told]
    assert (out / "kept" / "samples-1x1.npz").is_file()


def test_compare_lists_a_gpu_that_is_not_there_and_prints_a_table(out: Path) -> None:
    done = paring_in(
        out, "compare", MODEL, MODEL, *SHORT, "--device", "cpu", "--device", "cuda", "--shape", "inputs=2x8"
    )
    assert done.code == 0, done.err
    assert "not run: model.onnx on onnxruntime fp32 cuda: onnxruntime: not measured: no GPU" in done.out
    assert "on its best (onnxruntime fp32)" in done.out


def test_profile_shows_modules_of_files_and_of_eager(out: Path) -> None:
    done = paring_in(out, "profile", "out/artifact", *ORT, "--task", "tiny.py:task", "--calls", "2", "--json")
    assert done.code == 0, done.err
    file, eager = json.loads(done.out)
    assert set(file["modules"]) >= {"0", "2"} and set(eager["modules"]) >= {"0", "2"}
    assert (file["engine"], eager["what"]) == ("onnxruntime", "eager")
    shown = paring_in(out, "profile", MODEL, *ORT, "--calls", "1", "--top", "1")
    assert "belongs to a named module" in shown.out


def test_machine_shows_what_is_kept_without_measuring(out: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.measure.peaks.measure_peaks", lambda threads, report: PEAKS)
    told = json.loads(paring_in(out, "machine", "--json").out)
    assert told["peaks"][0]["macs_per_s"] == PEAKS.macs_per_s and told["machine"]["cpu"]
    assert told["peaks"][0]["file"] == str(peaks_file(1)) and peaks_file(1).is_relative_to(cache)
    monkeypatch.setattr("paring.measure.peaks.measure_peaks", lambda threads, report: pytest.fail("measured again"))
    shown = paring_in(out, "machine")
    assert shown.code == 0 and "2 GFLOP/s" in shown.out and "no instructions here" in shown.out


def test_measure_holds_a_file_against_the_floor_once_peaks_are_known(
    out: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = paring_in(out, "measure", MODEL, *ORT)
    assert "No floor shown: `paring machine` measures" in bare.out
    monkeypatch.setattr("paring.measure.peaks.measure_peaks", lambda threads, report: PEAKS)
    assert paring_in(out, "machine").code == 0
    (row,) = json.loads(paring_in(out, "measure", MODEL, *ORT, "--json").out)["targets"]
    assert [op["macs"] for op in row["roofline"]["ops"]] == [8 * 8, 8 * 3]
    assert [op["module"] for op in row["roofline"]["ops"]] == ["0", "2"]
    assert row["roofline_multiple"] == pytest.approx(row["latency_ms"]["p50"] / row["roofline"]["floor_ms"])
    assert "floor" in paring_in(out, "measure", MODEL, *ORT).out


def made_up(load: Load, answer: object, **how: int) -> LoadResult:
    latency = {"p50": 0.5, "p90": 0.8, "p99": 1.0 if load.qps < 500 else 9.0}
    scheduled = load.qps if load.scenario == "Server" else None
    return LoadResult(load.scenario, True, "", latency, 1000.0, scheduled, 100, 0.1, 1.0)


def test_load_says_rates_cost_and_where_latency_breaks(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paring.measure.loadtest, "run_load", made_up)
    args = ("load", "out/artifact", "--task", "tiny.py:task", "--p99", "5ms", "--ladder", "--scenario", "Server")
    told = json.loads(paring_in(out, *args, "--json").out)
    assert told["saturation_per_s"] == 1000.0 and 400 < told["highest"]["per_s"] < 500
    assert [rung["load"] for rung in told["ladder"]][-1] == 2.0
    assert told["cost_per_million"] == pytest.approx(0.1e3 / 3600 * 0.04)
    shown = paring_in(out, *args).out
    assert "Latency breaks at 500 per s." in shown and "Highest rate with p99 below 5 ms" in shown


@pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is not None, reason="it is installed here")
def test_without_loadgen_it_is_named(out: Path) -> None:
    assert "mlcommons-loadgen is not installed" in paring_in(out, "load", MODEL).only_line


COMPARE, PROFILE, LOAD, MEASURE = ("compare", MODEL), ("profile",), ("load",), ("measure",)
BAD_FILES = [
    ("text.onnx", "text.onnx: it is no sound ONNX file"),
    ("cut.onnx", "cut.onnx: it is no sound ONNX file"),
    ("empty.onnx", "empty.onnx: "),
    ("absent.onnx", "absent.onnx: there is no such file"),
]
MISTAKES = [
    *((*command, file, *ORT, words) for command in (COMPARE, PROFILE, MEASURE) for file, words in BAD_FILES),
    *((*LOAD, file, words) for file, words in BAD_FILES),
    *((*command, MODEL, "--shape", "inputs=1x9", "input 'inputs' cannot be (1, 9): the file takes (?, 8)")
      for command in (COMPARE, PROFILE, LOAD, MEASURE)),
    (*PROFILE, MODEL, "--shape", "x=1x8", "it has no input 'x'. Its inputs are: inputs (?, 8) float32"),
    (*PROFILE, MODEL, "--shape", "inputs", "--shape: got 'inputs'; write NAME=1x128"),
    *((*command, MODEL, "--task", "tiny.py:no_test", "validation: it holds no batch; give at least one")
      for command in (COMPARE, PROFILE, LOAD, MEASURE)),
    *((*command, MODEL, *ORT, "--task", "tiny.py:narrow", "input 'inputs' is (1, 4), and the file takes (?, 8)")
      for command in (COMPARE, PROFILE, LOAD, MEASURE)),
    *((*command, MODEL, "--engine", "openvin", "--engine: unknown engine 'openvin'; did you mean 'openvino'?")
      for command in (COMPARE, PROFILE, LOAD, MEASURE)),
    *((*command, MODEL, "--precision", "fp23", "--precision: unknown precision 'fp23'; did you mean 'fp32'?")
      for command in (COMPARE, PROFILE, LOAD)),
    (*LOAD, MODEL, "--precision", "bf16", "--precision bf16: no engine computes in it on this processor"),
    (*LOAD, MODEL, "--scenario", "Sever", "--scenario: unknown scenario 'Sever'; did you mean 'Server'?"),
    (*LOAD, MODEL, "--profile", "egde", "--profile: unknown profile 'egde'; did you mean 'edge'?"),
    (*LOAD, MODEL, "--p99", "0ms", "load: limit_ms is 0.0; it must be above 0"),
    (*LOAD, MODEL, "--p99", "5parsec", "--p99: got '5parsec'; the unit must be one of"),
    (*LOAD, MODEL, "--profile", "edge", "--memory", "-1MB", "load: edge_bytes is -1000000"),
    (*LOAD, MODEL, "--price", "-1", "load: price_per_core_hour is -1.0"),
    (*COMPARE, "compare: it takes two files or more, and got 1"),
    *((*command, MODEL, "--device", "cuda", "not measured: no GPU") for command in (COMPARE, MEASURE)),
    (*COMPARE, MODEL, "--device", "gpu", "--device: unknown device 'gpu'; did you mean 'cpu'?"),
    ("compress", "tiny.py:task", "--recipe", "r.yaml", "--out", "new", "--device", "cuda", "not measured: no GPU"),
    ("compress", "tiny.py:task", "--recipe", "r.yaml", "--out", "new", "--min-throughput", "0",
     "Budget: min_throughput_per_s is 0.0; it must be above 0"),
    ("compress", "tiny.py:task", "--recipe", "r.yaml", "--out", "new", "--max-memory", "3parsec",
     "--max-memory: got '3parsec'; the unit must be one of"),
]  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES, ids=[" ".join(one[:-1])[:60] for one in MISTAKES])
def test_a_mistake_is_one_line(out: Path, words: tuple[str, ...]) -> None:
    if "no GPU" in words[-1] and "cuda" in devices("onnxruntime"):
        pytest.skip("there is a GPU here")
    (out / "r.yaml").write_text("passes: [prune.channels]\n")
    done = paring_in(out, *words[:-1])
    assert done.code == 2
    assert words[-1] in done.only_line
    assert not (out / "new").exists()


@pytest.mark.parametrize("command", [COMPARE, PROFILE, LOAD], ids=lambda command: command[0])
def test_an_engine_that_is_not_installed_is_one_line(out: Path, command: tuple[str, ...]) -> None:
    with mock.patch.object(paring.cli.targets, "installed_engines", return_value=("onnxruntime",)):
        done = paring_in(out, *command, MODEL, "--engine", "openvino")
    assert (done.code, done.only_line) == (
        2, "EngineError: openvino is not installed. Run: pip install openvino",
    )  # fmt: skip


def test_a_throughput_that_nothing_reaches_is_exit_code_3(out: Path) -> None:
    (out / "r.yaml").write_text("passes: [prune.channels]\n")
    args = ("compress", "tiny.py:task", "--recipe", "r.yaml", *ORT, "--out", "fast")
    done = paring_in(out, *args, "--min-throughput", "1e15")
    assert done.code == 3
    assert "throughput" in done.only_line and "a second where the budget says" in done.only_line
    results = json.loads((out / "fast" / "results.json").read_text())
    assert results["budget"]["min_throughput_per_s"] == 1e15
    assert all(row["throughput_per_s"] > 0 and not row["within_budget"] for row in results["rows"])


def test_the_manifest_names_the_target_where_the_clock_found_the_file_fastest(out: Path) -> None:
    manifest = json.loads((out / "out/artifact/manifest.json").read_text())
    row = json.loads((out / "out/results.json").read_text())["rows"][1]
    assert manifest["target"] == {key: row[key] for key in manifest["target"]}
    assert Target(**manifest["target"]) == Target()
    fastest = min(row["targets"], key=lambda entry: entry["latency_ms"]["p50"])
    assert (fastest["engine"], fastest["precision"]) == (manifest["target"]["engine"], manifest["target"]["precision"])


def test_targets_are_every_combination_that_an_engine_has() -> None:
    found = targets_of(["onnxruntime"], None, None, [1, 2], [1, 8])
    assert [(one.threads, one.batch_size) for one in found] == [(1, 1), (1, 8), (2, 1), (2, 8)]
    every = targets_of(None, None, None, [1], [1])
    assert [str(one) for one in every] == ["onnxruntime fp32", *(f"openvino {one}" for one in precisions("openvino"))]
    assert all(one.static_shapes == (one.engine == "openvino") for one in every)
    assert len(targets_of(["onnxruntime", "onnxruntime"], ["fp32"], ["cpu", "cpu"], [1], [1])) == 1
    with pytest.raises(UnknownNameError, match="unknown engine 'torch'"):
        targets_of(["torch"], None, None, [1], [1])
    with pytest.raises(EngineError, match=r"--precision fp16: no engine computes in it .*\(onnxruntime fp32\)"):
        targets_of(["onnxruntime"], ["fp16"], None, [1], [1])


def test_shapes_are_read() -> None:
    assert shapes_of(["ids=1x128", "a=b=3", "X=2X4"]) == {"ids": (1, 128), "a=b": (3,), "X": (2, 4)}
    assert shapes_of(None) == {}
    for text in ("ids", "=1x2", "ids=", "ids=1x0", "ids=1x-2", "ids=axb"):
        with pytest.raises(SettingError, match="write NAME=1x128, whole numbers above 0"):
            shapes_of([text])
