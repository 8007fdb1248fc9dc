"""`paring init` and `paring compress`, as a user calls them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import paring.run
from paring import Artifact
from paring.recipe_io import recipe_hash
from tests.cli.calls import Call, paring_in, written
from tests.runs import NARROW, interruptible

AGAIN = ("compress", "task.py:task", "--recipe", "recipe.yaml", "--out", "out", "--engine", "onnxruntime")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `paring init` writes, and a run of it."""
    folder = tmp_path_factory.mktemp("started")
    assert paring_in(folder, "init").code == 0
    done = paring_in(folder, *AGAIN, "--max-drop", "50pt")
    assert done.code == 0, done.err
    assert "recipe: " in done.out and "Files: out" in done.out
    return folder


def test_what_init_writes_runs_as_it_is(started: Path) -> None:
    Artifact(started / "out" / "artifact").verify()
    assert (started / "out" / "report.html").is_file()
    assert json.loads((started / "out" / "results.json").read_text())["task"] == "task"


def test_init_leaves_what_is_there(started: Path) -> None:
    before = (started / "task.py").read_text()
    again = paring_in(started, "init")
    assert again.code == 2
    assert again.only_line == "SettingError: task.py: exists already and is left as it is. Choose another name."
    assert (started / "task.py").read_text() == before


def test_json_is_the_results_file_and_resuming_repeats_nothing(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paring.run, "compress_steps", lambda *args: pytest.fail("repeated"))
    done = paring_in(started, *AGAIN, "--max-drop", "50pt", "--json")
    assert done.code == 0 and done.err == ""
    assert json.loads(done.out)["rows"] == json.loads((started / "out" / "results.json").read_text())["rows"]


def test_a_missed_budget_is_exit_code_3_with_the_nearest_miss(started: Path) -> None:
    done = paring_in(started, *AGAIN, "--max-size", "1b")
    assert done.code == 3
    assert done.only_line.startswith("BudgetError: budget: the one candidate does not stay inside. Nearest is recipe")
    assert "(outside" in done.out and "results.json" in done.out  # a narrow column breaks the line before its budget


def test_a_drop_may_be_held_by_its_interval(started: Path) -> None:
    seen = json.loads((started / "out" / "results.json").read_text())["rows"][1]["selection"]
    high = seen["drop_interval"][1]
    assert seen["drop"] < high
    budget = ("--max-drop", repr((max(seen["drop"], 0.0) + high) / 2))
    assert paring_in(started, *AGAIN, *budget).code == 0
    sure = paring_in(started, *AGAIN, *budget, "--use-interval")
    assert sure.code == 3 and f"metric drop {high:.6g} where the budget says" in sure.only_line
    alone = paring_in(started, *AGAIN, "--use-interval")
    assert alone.code == 2 and "--max-drop is not given" in alone.only_line


def test_a_foreign_output_folder_is_refused(started: Path) -> None:
    (started / "other.py").write_text("from tests.runs import tiny_task\n\ntask = tiny_task()\n")
    for args, words in (
        (("other.py:task", "--out", "out"), "holds a run of another task, model or data (task)"),
        (("task.py:task", "--out", "out", "--threads", "2"), "holds a run of other conditions"),
        (("task.py:task", "--out", "."), "exists and is no run folder"),
        (("task.py:task", "--out", "task.py"), "exists and is no run folder"),
        (("task.py:task", "--out", "task.py/out"), "cannot be written"),
    ):
        done = paring_in(started, "compress", *args, "--recipe", "recipe.yaml")
        assert done.code == 2
        assert words in done.only_line


def test_dry_run_plans_and_leaves_no_folder(started: Path) -> None:
    args = ("compress", "task.py:task", "--recipe", "recipe.yaml", "--out", "plan", "--dry-run")
    done = paring_in(started, *args)
    assert done.code == 0 and "prune.channels, finetune, quantize.static" in done.out
    plan = json.loads(paring_in(started, *args, "--json").out)
    assert [row["name"] for row in plan["recipes"]] == ["baseline", "recipe"]
    assert plan["seconds"] > 0 and plan["bytes"] > 0
    assert not (started / "plan").exists()


HEAD = """from tests.runs import tiny_task, vectors

x, y = vectors()
broken = tiny_task().model
broken[0].weight.data[0, 0] = float("nan")
good = tiny_task()
"""
TASKS = {
    "no_train": "tiny_task(train=None)",
    "no_pair": "tiny_task(validation=[x])",
    "no_batch": "tiny_task(calibration=[])",
    "too_narrow": "tiny_task(example_inputs=x[:2, :4])",
    "nan_data": "tiny_task(calibration=[(x * float('nan'), y)])",
    "nan_later": "tiny_task(test=[(x, y), (x * float('nan'), y)])",
    "nan_weight": "tiny_task(model=broken)",
    "no_output": "tiny_task(output=lambda answer: answer.scores)",
    "numpy_output": "tiny_task(output=lambda answer: answer.detach().numpy())",
    "number": "3",
    "failing": "1 / 0",
}
RECIPES = {
    "narrow": "[prune.channels]",
    "train": "[finetune]",
    "nopass": "[prune.channel]",
    "nosetting": "[{prune.channels: {prunning_ratio: 0.5}}]",
    "noratio": "[{prune.channels: {pruning_ratio: 1.0}}]",
    "nosparsity": "[{prune.magnitude: {sparsity: -0.1}}]",
    "kind": '[{prune.channels: {include: ["1"]}}]',
}
MISTAKES = [
    ("tiny.py:good", "nopass", "nopass.yaml: step 1: unknown pass 'prune.channel'; did you mean 'prune.channels'?"),
    (
        "tiny.py:good",
        "nosetting",
        "step 1: prune.channels: unknown setting 'prunning_ratio'; did you mean 'pruning_ratio'",
    ),
    ("tiny.py:good", "noratio", "pruning_ratio is 1.0; it must lie between 0 and 1, both excluded"),
    ("tiny.py:good", "nosparsity", "step 1: prune.magnitude: sparsity is -0.1"),
    ("tiny.py:good", "absent", "absent.yaml: no such file. Give the YAML file of a recipe"),
    ("tiny.py:no_train", "train", "step 1, finetune: needs task.train, and the task has none. Give Task(train=...)"),
    ("tiny.py:no_pair", "narrow", "validation: the first batch is Tensor of 96; it must be (inputs, target)"),
    ("tiny.py:no_batch", "narrow", "calibration: it holds no batch; give at least one"),
    ("tiny.py:too_narrow", "narrow", "example_inputs: the forward fails in 0 on inputs (2, 4)"),
    ("tiny.py:nan_data", "narrow", "calibration: the first batch: inputs holds NaN or infinity. Clean the data"),
    ("tiny.py:nan_later", "narrow", "test: batch 2: inputs holds NaN or infinity"),
    ("tiny.py:nan_weight", "narrow", "0.weight: the weight holds NaN or infinity. Load a sound checkpoint"),
    ("tiny.py:no_output", "narrow", "task.output fails on the model's Tensor: AttributeError"),
    ("tiny.py:numpy_output", "narrow", "task.output gives a ndarray; it must give a tensor"),
    ("tiny.py:number", "narrow", "tiny.py:number: is a int; it must be a paring.Task, or a function returning one"),
    ("tiny.py:failing", "narrow", "tiny.py:17: gives no task: ZeroDivisionError: division by zero"),
    ("tiny.py:godo", "narrow", "tiny.py: unknown name 'godo'; did you mean 'good'?"),
    ("tiny.py", "narrow", "write file.py:name or module:name"),
    ("absent.py:task", "narrow", "absent.py: no such file. `paring init absent.py` writes one to start from"),
    ("absent:task", "narrow", "absent: gives no task: ModuleNotFoundError"),
    ("broken.py:task", "narrow", "broken.py:3: gives no task: NameError: name 'nix' is not defined"),
    ("syntax.py:task", "narrow", "syntax.py: gives no task: SyntaxError"),
    ("tiny.py:good --engine onnx", "narrow", "--engine: unknown engine 'onnx'; did you mean 'onnxruntime'?"),
    ("tiny.py:good --engine torch", "narrow", "none of the engines torch runs files here"),
    ("tiny.py:good --device gpu", "narrow", "--device: unknown device 'gpu'; did you mean 'cpu'? Known: cpu, cuda."),
    ("tiny.py:good --percentile p95", "narrow", "--percentile: unknown percentile 'p95'"),
    ("tiny.py:good --max-size 3parsec", "narrow", "--max-size: got '3parsec'; the unit must be one of"),
    ("tiny.py:good --max-latency 5", "narrow", "--max-latency: got '5'; the unit must be one of 'ms', 'us', 's'."),
    ("tiny.py:good --recipe narrow.yaml", "narrow", "two recipes are called 'narrow'; give each a name of its own"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.py").write_text(HEAD + "".join(f"{name} = lambda: {made}\n" for name, made in TASKS.items()))
    (folder / "broken.py").write_text("import os\n\ntask = nix\n")
    (folder / "syntax.py").write_text("task = (\n")
    for name, passes in RECIPES.items():
        (folder / f"{name}.yaml").write_text(f"passes: {passes}\n")
    return folder


@pytest.mark.parametrize(("task", "recipe", "words"), MISTAKES, ids=[words[:50] for _, _, words in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing(tiny: Path, task: str, recipe: str, words: str) -> None:
    before = written(tiny)
    done = paring_in(tiny, "compress", *task.split(), "--recipe", f"{recipe}.yaml", "--out", "out")
    assert done.code == 2
    assert words in done.only_line
    assert written(tiny) == before


@pytest.fixture
def begun(tiny: Path, tmp_path: Path) -> Path:
    """The same files in a folder of the test's own."""
    for path in tiny.glob("*.*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def compress(folder: Path, recipe: str) -> Call:
    task = ("compress", "tiny.py:good", "--engine", "onnxruntime")
    return paring_in(folder, *task, "--recipe", f"{recipe}.yaml", "--out", "out")


def test_a_layer_that_a_pass_cannot_treat_is_named_and_whole_candidates_stay(begun: Path) -> None:
    done = compress(begun, "kind")
    assert done.code == 2
    assert "prune.channels: 1 is a ReLU, and this pass treats Linear" in done.only_line
    assert [path.name for path in (begun / "out" / "candidates").iterdir()] == ["4f53cda18c2b"]


def test_a_full_disk_is_one_line_and_leaves_no_half_candidate(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_to_full(candidate: object, folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"half")
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"the rest")

    monkeypatch.setattr(paring.run, "save_candidate", save_to_full)
    done = compress(begun, "narrow")
    assert done.code == 2
    assert "the disk is full. Free some space and run again: whole candidates are kept." in done.only_line
    assert list((begun / "out" / "candidates").iterdir()) == []


def test_ctrl_c_is_exit_code_130_without_a_traceback(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(paring.run, "judge", stopped)
    done = compress(begun, "narrow")
    assert done.code == 130
    assert done.only_line == "Stopped. Whole candidates are kept; the same command goes on from them."
    assert list((begun / "out" / "candidates").iterdir()) == []


def test_a_real_ctrl_c_in_a_real_process(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    (tmp_path / "r.yaml").write_text("passes: [prune.channels]\n")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("paring"), "compress", "slow.py:task", "--recipe", "r.yaml", "--out", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ),
        preexec_fn=interruptible,
    )
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines() == ["Stopped. Whole candidates are kept; the same command goes on from them."]
    assert not (tmp_path / "out").exists()


def test_the_baseline_s_folder_is_that_of_the_empty_recipe() -> None:
    assert recipe_hash(paring.run.BASELINE) == "4f53cda18c2b" != recipe_hash(NARROW)
