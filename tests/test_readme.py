"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from paring.catalog import OBJECTIVES, PASSES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_thirty_lines_run_and_their_artifact_runs_without_paring(tmp_path: Path) -> None:
    api, plain = blocks("python")
    assert len(api.splitlines()) <= 35
    done = subprocess.run([sys.executable, "-c", api], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
    assert "paring" not in plain
    done = subprocess.run([sys.executable, "-c", plain], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "array([[" in done.stdout


def test_the_table_of_techniques_is_the_catalog() -> None:
    named = set(re.findall(r"^\| `([a-z_.]+)` \|", README, re.MULTILINE))
    assert named == (set(PASSES) | set(OBJECTIVES)) - {"supervised"}
