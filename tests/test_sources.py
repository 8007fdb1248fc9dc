"""Every command that the map of the sources names is there, with the options it is shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paring.cli.app import app
from paring.recipe_io import read_recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guide" / "sources.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`(paring [^`]+)`", PAGE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_known_with_its_options(command: str) -> None:
    words = shlex.split(command)[1:]
    said = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert said.exit_code == 0, said.output
    for option in (word for word in words if word.startswith("--")):
        assert option in said.output, f"{command}: {option} is no option of it"


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
