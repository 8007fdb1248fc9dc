"""`paring measure` and `paring passes`, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paring.catalog import OBJECTIVES, PASSES
from tests.cli.calls import paring_in
from tests.runs import NARROW, run_in

ENGINE = ("--engine", "onnxruntime")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    run_in(folder / "out", (NARROW,))
    (folder / "tiny.py").write_text("from tests.runs import tiny_task\n\ntask = tiny_task\n")
    return folder


@pytest.mark.parametrize("path", ["out/artifact", "out/artifact/model.onnx"])
def test_a_file_and_an_artifact_are_measured(out: Path, path: str) -> None:
    done = paring_in(out, "measure", path, *ENGINE, "--json")
    assert done.code == 0, done.err
    measured = json.loads(done.out)
    assert measured["file_bytes"] == (out / "out/artifact/model.onnx").stat().st_size
    assert [row["name"] for row in measured["targets"]] == ["onnxruntime fp32"]
    assert measured["targets"][0]["metric"] is None


def test_with_a_task_its_quality_is_measured_too(out: Path) -> None:
    done = paring_in(out, "measure", "out/artifact", *ENGINE, "--task", "tiny.py:task", "--json")
    assert done.code == 0, done.err
    measured, results = json.loads(done.out), json.loads((out / "out/results.json").read_text())
    assert (measured["split"], measured["metric_name"]) == ("test", "accuracy")
    assert measured["targets"][0]["metric"] == results["rows"][1]["metric"]
    shown = paring_in(out, "measure", "out/artifact", *ENGINE, "--task", "tiny.py:task")
    assert f"{results['rows'][1]['metric']:.4f}" in shown.out


def test_an_artifact_that_was_tampered_with_is_refused(out: Path, tmp_path: Path) -> None:
    for path in (out / "out/artifact").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "recipe.yaml").write_text("passes: []\n")
    done = paring_in(tmp_path, "measure", ".", *ENGINE)
    assert done.code == 2
    assert "recipe.yaml: it is not the file that was exported" in done.only_line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("tiny.py",), "tiny.py: it is no sound ONNX file"),
        (("nix.onnx",), "nix.onnx: there is no such file"),
        ((".",), "manifest.json: there is none, so . is no artifact folder"),
        (("out/artifact", "--device", "gpu"), "--device: unknown device 'gpu'; did you mean 'cpu'?"),
        (("out/artifact", "--engine", "openvin"), "--engine: unknown engine 'openvin'; did you mean 'openvino'?"),
        (("out/artifact", "--task", "tiny.py:tasks"), "tiny.py: unknown name 'tasks'; did you mean 'task'?"),
    ],
)
def test_a_mistake_is_one_line(out: Path, args: tuple[str, ...], words: str) -> None:
    done = paring_in(out, "measure", *args)
    assert done.code == 2
    assert words in done.only_line


def test_passes_lists_the_catalog(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("paring"), "passes", "--json"], capture_output=True, text=True, check=True
    )
    listed = json.loads(done.stdout)
    assert [one["name"] for one in listed] == [*PASSES, *OBJECTIVES]
    assert all(one["summary"] and one["kind"] in ("pass", "objective") for one in listed)
    table = paring_in(tmp_path, "passes").out
    assert all(name in table for name in PASSES)


@pytest.mark.parametrize("name", [*PASSES, *OBJECTIVES])
def test_every_technique_is_explained(tmp_path: Path, name: str) -> None:
    described = json.loads(paring_in(tmp_path, "passes", name, "--json").out)
    done = paring_in(tmp_path, "passes", name)
    assert done.code == 0
    assert all(setting["name"] in done.out for setting in described["settings"])
    assert not any("MISSING" in str(setting) or "paring." in setting["type"] for setting in described["settings"])


def test_an_explanation_has_settings_paper_and_order(tmp_path: Path) -> None:
    shown = paring_in(tmp_path, "passes", "prune.channels").out
    assert "pruning_ratio" in shown and "round_to" in shown
    assert "Li et al. 2017" in shown
    assert "Not after a pass that leaves integer weights" in shown


def test_an_unknown_technique_gets_the_nearest_name(tmp_path: Path) -> None:
    done = paring_in(tmp_path, "passes", "prune.channel")
    assert done.code == 2
    assert done.only_line == "UnknownNameError: unknown technique 'prune.channel'; did you mean 'prune.channels'?"
