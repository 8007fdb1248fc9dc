"""`paring search`, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paring import Artifact
from tests.cli.calls import paring_in

TASK = "from tests.runs import tiny_task\n\ntask = tiny_task(calibration=None, train=None)\n"
SEARCH = ("search", "task.py:task", "--out", "out", "--engine", "onnxruntime", "--max-epochs", "0")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a task that has no data to calibrate on, so that the space is small."""
    (tmp_path / "task.py").write_text(TASK)
    return tmp_path


def test_a_search_leaves_artifact_report_and_page(home: Path) -> None:
    done = paring_in(home, *SEARCH, "--trials", "2", "--max-drop", "0.5")
    assert done.code == 0, done.err
    assert "trial 1: " in done.out and "the front so far" in done.out and "ended by: trials" in done.out
    Artifact(home / "out" / "artifact").verify()
    assert (home / "out" / "search.md").is_file() and (home / "out" / "report.html").is_file()
    again = paring_in(home, *SEARCH, "--trials", "2", "--max-drop", "0.5", "--json")
    assert again.code == 0 and json.loads(again.out)["ended"] == "trials"


def test_a_missed_budget_is_exit_code_3_and_says_what_blocks(home: Path) -> None:
    done = paring_in(home, *SEARCH, "--trials", "1", "--max-size", "1b")
    assert done.code == 3
    assert "the one candidate does not stay inside" in done.err and "Only the limit on file size keeps out" in done.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "it needs an end"),
        (("--trials", "1", "--goal", "fast"), "did you mean 'fastest'"),
        (("--time", "3 weeks"), "--time"),
    ],
)
def test_mistakes_are_one_line(home: Path, args: tuple[str, ...], words: str) -> None:
    done = paring_in(home, *SEARCH, *args)
    assert done.code == 2 and words in done.only_line


def test_ctrl_c_ends_with_the_best_so_far(home: Path) -> None:
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-m", "paring", *SEARCH, "--time", "10m"],
        cwd=home,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    seen = []
    for line in child.stdout:
        seen.append(line)
        if line.startswith("trial 1: "):
            child.send_signal(signal.SIGINT)
            break
    rest, told = child.communicate(timeout=300)
    assert child.returncode == 130, told
    assert "Stopping after this step" in told
    Artifact(home / "out" / "artifact").verify()
    assert (home / "out" / "report.html").is_file(), "".join([*seen, rest])
