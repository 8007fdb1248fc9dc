"""A search as a batch job: a stub sbatch, and submitit's local executor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paring.cli.launch import without_launcher
from tests.cli.calls import paring_in

TASK = "from tests.runs import tiny_task\n\ntask = tiny_task(calibration=None, train=None)\n"
SEARCH = ("search", "task.py:task", "--out", "out", "--engine", "onnxruntime", "--max-epochs", "0", "--trials", "1")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "task.py").write_text(TASK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    return tmp_path


def slurm_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub SLURM first in PATH: what is submitted lies in `submitted.sh`."""
    stubs = home / "bin"
    stubs.mkdir()
    (stubs / "sbatch").write_text('#!/bin/sh\ncp "$1" submitted.sh\necho "Submitted batch job 42"\n')
    (stubs / "srun").write_text("#!/bin/sh\n")
    for stub in stubs.iterdir():
        stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stubs}{os.pathsep}{os.environ['PATH']}")


def test_the_launcher_is_taken_out() -> None:
    argv = ["search", "t.py:t", "--launcher", "slurm", "--launcher=sbatch", "--out", "o"]
    assert without_launcher(argv) == ["search", "t.py:t", "--out", "o"]


def test_sbatch_gets_a_readable_script_that_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm_in(home, monkeypatch)
    done = paring_in(home, *SEARCH, "--ray", "local", "--workers", "3", "--threads", "2", "--launcher", "sbatch")
    assert done.code == 0, done.err
    assert "as job 42" in done.out and not (home / "out").exists()
    text = (home / "submitted.sh").read_text()
    assert "#SBATCH --cpus-per-task=6" in text and "--launcher" not in text and "-m paring search" in text
    assert subprocess.run(["bash", "-n", str(home / "submitted.sh")]).returncode == 0


def test_a_missing_sbatch_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    done = paring_in(home, *SEARCH, "--launcher", "sbatch")
    assert done.code == 2 and "there is no sbatch here" in done.only_line
    assert "did you mean 'slurm'" in paring_in(home, *SEARCH, "--launcher", "slrm").only_line


@pytest.mark.parametrize("launcher", ["sbatch", "slurm"])
def test_a_job_has_its_node_alone(launcher: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm_in(home, monkeypatch)
    done = paring_in(home, *SEARCH, "--launcher", launcher)
    assert done.code == 0 and "job 42" in done.out, done.err
    asked = (home / "submitted.sh").read_text().splitlines()
    assert "#SBATCH --exclusive" in asked and "#SBATCH --cpus-per-task=1" in asked


def test_submitit_runs_it_here(home: Path) -> None:
    command = [sys.executable, "-m", "paring", *SEARCH, "--launcher", "local"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0 and "Submitted job" in done.stdout, done.stderr
    for _ in range(600):
        if (home / "out" / "search.md").is_file():
            break
        time.sleep(0.5)
    assert (home / "out" / "search.md").is_file()
