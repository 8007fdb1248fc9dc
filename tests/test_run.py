"""Several recipes into one run folder: nothing repeated, nothing lost, the same to the digit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import paring.run
from paring import Artifact, Budget, Recipe, open_run, run_recipes
from paring.core.stream import drain
from paring.errors import BudgetError, RecipeError
from paring.recipe_io import recipe_hash
from paring.report.results import Run
from paring.store import load_candidate
from tests.runs import INTEGERS, LOW_RANK, NARROW, SHORT, interruptible, run_in, tiny_task

WHOLE = {
    "recipe.yaml",
    "edits.json",
    "weights.safetensors",
    "model.onnx",
    "nodes.json",
    "samples.npz",
    "model.paring",
    "measurement.json",
}
IMPOSSIBLE = Budget(max_file_bytes=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    path = tmp_path_factory.mktemp("run") / "out"
    return path, run_in(path, (NARROW, INTEGERS), Budget(max_metric_drop=1.0))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_holds_what_the_design_says(finished: tuple[Path, Run]) -> None:
    path, _ = finished
    assert {"run.json", "results.json", "report.html", "candidates", "artifact"} <= {p.name for p in path.iterdir()}
    candidates = list((path / "candidates").iterdir())
    assert {p.name for p in candidates} == {recipe_hash(recipe) for recipe in (Recipe(), NARROW, INTEGERS)}
    assert all({p.name for p in folder.iterdir()} >= WHOLE for folder in candidates)


def test_results_json_has_the_head_of_the_design(finished: tuple[Path, Run]) -> None:
    written = json.loads((finished[0] / "results.json").read_text())
    assert written.keys() >= {"task", "machine", "versions", "baseline", "rows"}
    assert (written["task"], written["baseline"]) == ("tiny", "baseline")
    assert [row["name"] for row in written["rows"]] == ["baseline", "narrow", "integers"]
    assert {row["split"] for row in written["rows"]} == {"test"}


def test_the_artifact_is_the_measured_file_and_its_manifest_verifies(finished: tuple[Path, Run]) -> None:
    path, run = finished
    recipe = {"narrow": NARROW, "integers": INTEGERS}[str(run.chosen)]
    artifact = Artifact(path / "artifact")
    artifact.verify()
    assert artifact.model.read_bytes() == (path / "candidates" / recipe_hash(recipe) / "model.onnx").read_bytes()
    assert artifact.manifest["measurement"]["name"] == run.chosen
    assert artifact.manifest["files"]["model.onnx"]["sha256"] == digest(artifact.model)


def test_the_artifact_runs_in_plain_onnxruntime(finished: tuple[Path, Run]) -> None:
    code = (
        "import sys, numpy as np, onnxruntime as o;"
        f"s = o.InferenceSession({str(finished[0] / 'artifact' / 'model.onnx')!r});"
        "[y] = s.run(None, {s.get_inputs()[0].name: np.zeros((5, 8), np.float32)});"
        "assert not {'paring', 'torch'} & set(sys.modules); print(y.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(5, 3)", done.stderr


def test_a_second_run_repeats_no_candidate(finished: tuple[Path, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    path, first = finished
    for name in ("compress_steps", "judge"):
        monkeypatch.setattr(paring.run, name, lambda *args: pytest.fail("a whole candidate was made again"))
    again = run_in(path, (NARROW, INTEGERS), Budget(max_metric_drop=1.0))
    assert again.chosen == first.chosen
    assert [one.latency_ms for one in again.rows] == [one.latency_ms for one in first.rows]


def test_a_recipe_renamed_is_the_same_candidate_under_its_new_name(finished: tuple[Path, Run]) -> None:
    again = run_in(finished[0], (Recipe(NARROW.passes, "slim"),), Budget(max_metric_drop=1.0))
    assert (again.chosen, again.candidates[0].file_bytes) == ("slim", finished[1].candidates[0].file_bytes)


def test_the_same_seed_gives_the_same_figures_edits_and_bytes(finished: tuple[Path, Run], tmp_path: Path) -> None:
    path, first = finished
    again = run_in(tmp_path / "other", (NARROW, INTEGERS), Budget(max_metric_drop=1.0))
    for left, right in zip(first.rows, again.rows, strict=True):
        assert (left.quality, left.headline, left.file_bytes) == (right.quality, right.headline, right.file_bytes)
    for recipe in (Recipe(), NARROW, INTEGERS):
        one, other = (folder / "candidates" / recipe_hash(recipe) for folder in (path, tmp_path / "other"))
        assert load_candidate(one).edits == load_candidate(other).edits
        for file in ("model.onnx", "weights.safetensors", "edits.json"):
            assert digest(one / file) == digest(other / file)


def test_a_missed_budget_is_raised_after_everything_was_written(finished: tuple[Path, Run], tmp_path: Path) -> None:
    shutil.copytree(finished[0] / "candidates", tmp_path / "candidates")
    shutil.copy(finished[0] / "run.json", tmp_path)
    with pytest.raises(BudgetError, match=r"Nearest is narrow: file size .* bytes where the budget says") as caught:
        run_in(tmp_path, (NARROW,), IMPOSSIBLE)
    assert caught.value.exit_code == 3
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["chosen"] is None
    assert [row["within_budget"] for row in results["rows"]] == [False, False]
    assert (tmp_path / "report.html").is_file()
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize("name", ["narrow", "baseline"])
def test_two_recipes_of_one_name_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    task = tiny_task()
    twins = (NARROW, Recipe(LOW_RANK.passes, name))
    with pytest.raises(RecipeError, match=f"two recipes are called '{name}'; give each a name of its own"):
        drain(run_recipes(task, twins, open_run(tmp_path, task, {}), SHORT, Budget()))
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


KILLED = """
import sys, time
import paring.run
from pathlib import Path
from tests.runs import NARROW, run_in

inner = paring.run.judge
def judge(candidate, *rest):
    if candidate.name == "narrow":
        (rest[1] / "half.onnx").write_bytes(b"half")
        print("half", flush=True)
        time.sleep(60)
    return (yield from inner(candidate, *rest))

paring.run.judge = judge
run_in(Path(sys.argv[1]), (NARROW,))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=lambda s: s.name)
def test_a_stopped_run_leaves_only_whole_candidates_and_goes_on(
    finished: tuple[Path, Run], tmp_path: Path, sent: signal.Signals
) -> None:
    base = Path("candidates") / recipe_hash(Recipe())
    shutil.copytree(finished[0] / base, tmp_path / base)
    shutil.copy(finished[0] / "run.json", tmp_path)
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=root,
        preexec_fn=interruptible,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    time.sleep(0.1)
    process.send_signal(sent)
    process.wait()
    process.stdout.close()
    left = {path.name for path in (tmp_path / "candidates").iterdir()}
    if sent == signal.SIGKILL:
        assert left == {base.name, f".{recipe_hash(NARROW)}.{process.pid}.partial"}
        assert run_in(tmp_path, (NARROW,), Budget(max_metric_drop=1.0)).chosen == "narrow"
        left = {path.name for path in (tmp_path / "candidates").iterdir()} - {recipe_hash(NARROW)}
    assert left == {base.name}
    assert digest(tmp_path / base / "measurement.json") == digest(finished[0] / base / "measurement.json")


def test_a_candidate_whose_container_is_of_another_version_is_exported_and_measured_again(tmp_path: Path) -> None:
    run_in(tmp_path / "out", (NARROW,), Budget(max_metric_drop=1.0))
    container = tmp_path / "out" / "candidates" / recipe_hash(NARROW) / "model.paring"
    sound = container.read_bytes()
    container.write_bytes(sound[:6] + b"\x01" + sound[7:])
    run_in(tmp_path / "out", (NARROW,), Budget(max_metric_drop=1.0))
    assert container.read_bytes() == sound
