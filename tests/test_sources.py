"""Every command that the map of the sources names is there, with the options it is shown with; short ones are run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paring import pack
from paring.artifacts.onnx import write_onnx
from paring.cli.app import app
from paring.cli.init import TEMPLATE
from paring.cli.load import load_task
from paring.recipe_io import read_recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guide" / "sources.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`(paring [^`]+)`", PAGE)))
SHORT = {"compress": ("--dry-run",), "compare": ("--blocks", "4", "--min-block-ms", "1"), "pack": (), "profile": (),
         "size": (), "teach": ()}  # fmt: skip
# The others take minutes or a server, and are run where they are tested: tests/studies, tests/serve, tests/cli.
RUN = [line for line in COMMANDS if line.split()[1] in SHORT and len(line.split()) > 2]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_known_with_its_options(command: str) -> None:
    words = shlex.split(command)[1:]
    said = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert said.exit_code == 0, said.output
    for option in (word for word in words if word.startswith("--")):
        assert option in said.output, f"{command}: {option} is no option of it"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: a task, a few files, the recipes."""
    folder: Path = tmp_path_factory.mktemp("sources")
    (folder / "task.py").write_text(TEMPLATE.format(name="task.py", stem="task"), encoding="utf-8")
    task = load_task(str(folder / "task.py:task"))
    for name in ("model", "a", "b"):
        write_onnx(task.model, task, folder / f"{name}.onnx")
    pack(folder / "model.onnx", folder / "model.paring")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    return folder


@pytest.mark.parametrize("command", RUN)
def test_a_short_command_runs_as_it_stands(command: str, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench)
    words = shlex.split(command)[1:]
    said = CliRunner().invoke(app, [*words, *SHORT[words[0]]])
    assert said.exit_code == 0, f"{said.output} {said.exception}"


@pytest.mark.parametrize("recipe", sorted(set(re.findall(r"recipes/\w+\.yaml", PAGE))))
def test_a_recipe_is_there_and_reads(recipe: str) -> None:
    assert read_recipe(ROOT / recipe).passes


def test_every_study_and_the_rows_it_is_credited_with_are_there() -> None:
    from paring.cli.study import NAMES, Asked, study_of

    asked = set(re.findall(r"`paring study (\w+)", PAGE))
    assert asked == set(NAMES)
    for line in PAGE.splitlines():
        study, rows = re.search(r"`paring study (\w+)`: rows? (.*) \|$", line), re.findall(r"\*([^*]+)\*", line)
        if study is not None:
            known = {str(recipe) for part in study_of(study[1], Asked()).parts for recipe in part.recipes}
            assert set(rows) <= known, f"{study[1]} has no row {set(rows) - known}"
