"""`paring gate`, and the workflow around it, passing and failing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from paring.artifacts.manifest import write_manifest
from paring.errors import SettingError
from paring.gate.check import Against, Allowance, Seen, checks, passes
from tests.cli.calls import Call, paring_in
from tests.serve.models import W, linear

REPOSITORY = Path(__file__).parents[2]
ENGINE = ("--engine", "onnxruntime")
LOOSE = {
    "max_file_bytes": "1MB",
    "max_latency_ms": "10s",
    "min_speedup": 0.001,
    "max_size_ratio": 2,
    "max_metric_drop": "1pt",
}


def shipped(folder: Path, weight: Any = W, metric: float = 0.9) -> Path:
    folder.mkdir()
    linear(folder / "model.onnx", weight)
    told = {"metric_name": "accuracy", "metric": metric, "split": "test", "num_examples": 100}
    write_manifest(folder, recipe="passes: []", edits=[], machine={}, measurement=told)
    return folder


def gated(folder: Path, limits: dict[str, Any], *more: str) -> Call:
    (folder / "budget.yaml").write_text(yaml.safe_dump(limits))
    return paring_in(folder, "gate", "new", "--against", "old", "--budget", "budget.yaml", *ENGINE, *more)


def outcomes(call: Call) -> dict[str, str]:
    return {one["limit"]: one["outcome"] for one in json.loads(call.out)["checks"]}


def test_what_holds_passes(tmp_path: Path) -> None:
    shipped(tmp_path / "old"), shipped(tmp_path / "new")
    call = gated(tmp_path, LOOSE, "--json")
    assert call.code == 0
    assert outcomes(call) == dict.fromkeys(
        ("max_latency_ms", "max_file_bytes", "max_metric_drop", "min_speedup", "max_size_ratio"), "holds"
    )


@pytest.mark.parametrize(
    "limit",
    [
        {"max_file_bytes": 10},
        {"max_latency_ms": "0.001us"},
        {"min_speedup": 1e6},
        {"min_throughput_per_s": 1e12},
        {"max_peak_memory_bytes": 1},
    ],
)
def test_each_limit_can_break(tmp_path: Path, limit: dict[str, Any]) -> None:
    shipped(tmp_path / "old"), shipped(tmp_path / "new")
    call = gated(tmp_path, LOOSE | limit)
    assert call.code == 3
    assert call.only_line.startswith(f"BudgetError: gate: new may not replace old: {next(iter(limit))} (broken)")
    assert "broken" in call.out


def test_a_drop_by_the_manifests(tmp_path: Path) -> None:
    shipped(tmp_path / "old", metric=0.9), shipped(tmp_path / "new", metric=0.88)
    assert outcomes(gated(tmp_path, {"max_metric_drop": "1pt"}, "--json")) == {"max_metric_drop": "broken"}
    assert gated(tmp_path, {"max_metric_drop": "3pt"}).code == 0
    assert gated(tmp_path, {"max_metric_drop": "3%"}).code == 0  # 2.7 points of 0.9
    assert gated(tmp_path, {"max_metric_drop": "2%"}).code == 3


def test_a_drop_on_data_is_paired_and_held_by_its_upper_end(tmp_path: Path) -> None:
    shipped(tmp_path / "old"), shipped(tmp_path / "new", W + np.array([[0, 0], [0, 0], [0, 0.4]], np.float32))
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, target=(x @ W).argmax(1))
    strict, loose = ({"max_metric_drop": drop} for drop in ("1pt", "40pt"))
    call = gated(tmp_path, strict, "--data", "data.npz", "--json")
    (check,) = json.loads(call.out)["checks"]
    agreed = np.mean((x @ W).argmax(1) == (x @ (W + np.array([[0, 0], [0, 0], [0, 0.4]]))).argmax(1))
    assert call.code == 3 and check["new"] == pytest.approx(1 - agreed)
    assert "200 examples, paired" in check["note"]
    assert gated(tmp_path, loose, "--data", "data.npz").code == 0


def test_what_is_not_known_does_not_pass(tmp_path: Path) -> None:
    shipped(tmp_path / "old")
    linear(tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "new.onnx")
    (tmp_path / "budget.yaml").write_text("max_metric_drop: 1pt")
    call = paring_in(tmp_path, "gate", "new.onnx", "--against", "old", "--budget", "budget.yaml", *ENGINE)
    assert call.code == 3 and "max_metric_drop (unknown)" in call.only_line


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    shipped(tmp_path / "old")
    linear(shipped(tmp_path / "new") / "model.onnx", 2 * W)
    call = gated(tmp_path, LOOSE)
    assert call.code == 2 and "CorruptFileError" in call.only_line


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "sets no limit"),
        ({"max_bytes": 3}, "unknown limit 'max_bytes'; did you mean 'max_file_bytes'?"),
        ({"max_file_bytes": "3 miles"}, "the unit must be one of"),
        ({"max_file_bytes": 0}, "it must be above 0"),
        ({"max_file_bytes": [1]}, "it must be a number"),
        ({"max_file_bytes": 1, "percentile": "p75"}, "it must be p50, p90 or p99"),
    ],
)
def test_mistakes_in_the_budget(tmp_path: Path, limits: dict[str, Any], words: str) -> None:
    shipped(tmp_path / "old"), shipped(tmp_path / "new")
    call = gated(tmp_path, limits)
    assert call.code == 2 and words in call.only_line


def test_a_budget_that_is_not_there(tmp_path: Path) -> None:
    shipped(tmp_path / "old"), shipped(tmp_path / "new")
    call = paring_in(tmp_path, "gate", "new", "--against", "old", "--budget", "none.yaml", *ENGINE)
    assert call.code == 2 and "--budget none.yaml: no such file" in call.only_line


def test_a_drop_at_its_limit_holds() -> None:
    seen, at = Seen(1, {"p50": 1.0}, 1.0, "here"), 0.986 - 0.976
    for drop, outcome in ((at, "holds"), (0.986 - 0.975, "broken"), (float("nan"), "broken")):
        found = checks(Allowance(max_metric_drop=0.01), seen, seen, Against((1.0, 1.0, 1.0), drop))
        assert [one.outcome for one in found] == [outcome]


def test_not_a_number_holds_nothing() -> None:
    seen = Seen(1, {"p50": float("nan")}, 1.0, "here")
    found = checks(Allowance(max_latency_ms=1.0), seen, seen, Against((1.0, 1.0, 1.0)))
    assert not passes(found)
    with pytest.raises(SettingError, match="sets no limit"):
        Allowance()


TASK = """
import torch, torch.nn.functional as F
from torch import nn
from paring import Task, batches
from paring.measure.metrics import accuracy
torch.manual_seed(0)
x = torch.randn(96, 8, generator=torch.Generator().manual_seed(0)); data = batches(x, x[:, :3].argmax(1), 32)
task = Task(name="t", model=nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), example_inputs=x[:2],
            calibration=data, validation=data, test=data, loss=F.cross_entropy, metric=accuracy)
"""


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the workflow expects it, with an artifact in service."""
    folder = tmp_path_factory.mktemp("delivery")
    (folder / "task.py").write_text(TASK)
    (folder / "recipe.yaml").write_text("passes:\n  - factorize.svd: {rank: {rank: 3}}\n")
    shipped(folder / "released")
    return folder


def run_workflow(folder: Path) -> list[str]:
    """The shell steps of the shipped workflow, in order, as a runner would run them; those that succeeded."""
    workflow = yaml.safe_load((REPOSITORY / "recipes/delivery/workflow.yml").read_text())
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    (commands / "paring").write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.cli.short "$@"\n')
    (commands / "paring").chmod(0o755)
    search = {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path]),
    }
    done = []
    for step in workflow["jobs"]["deliver"]["steps"]:
        if "run" in step and step["name"] != "install":
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            ran = subprocess.run(shell, cwd=folder, env=os.environ | workflow["env"] | search, capture_output=True)
            if ran.returncode != 0:
                break
            done.append(step["name"])
    return done


def test_the_workflow_publishes_what_passes_and_stops_at_a_gate_that_fails(delivery: Path) -> None:
    (delivery / "budget.yaml").write_text("max_file_bytes: 1MB\nmin_speedup: 0.0001\n")
    assert run_workflow(delivery) == ["compress", "gate", "publish"]
    published = (delivery / "published/artifact/manifest.json").read_bytes()
    assert json.loads(published)["measurement"]["name"] in ("recipe", "baseline")
    (delivery / "budget.yaml").write_text("max_file_bytes: 10\n")
    assert run_workflow(delivery) == ["compress"]
    assert (delivery / "published/artifact/manifest.json").read_bytes() == published
