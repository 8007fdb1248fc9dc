"""The recipes that ship: each is read, says what it does, and between them they use every technique."""

from __future__ import annotations

from pathlib import Path

import pytest

from paring.catalog import PASSES
from paring.recipe_io import parse_recipe, read_recipe, to_yaml
from paring.studies.mnist import mnist_study

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_reads_and_round_trips(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.passes and str(recipe) == path.stem
    assert parse_recipe(to_yaml(recipe)) == recipe
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_every_technique_stands_in_a_recipe() -> None:
    used = {step.name for path in RECIPES for step in read_recipe(path).passes}
    assert used == set(PASSES)


@pytest.mark.parametrize(
    ("recipe", "row"),
    [
        ("general_purpose", "pruned, distilled, int8"),
        ("latency_critical", "the same at a quarter width"),
        ("extreme_size", "half the width, distilled under the price of its bits"),
    ],
)
def test_a_golden_recipe_is_the_row_of_the_study_that_measured_it(recipe: str, row: str) -> None:
    measured = {str(one): one.passes for one in mnist_study().parts[0].recipes}
    assert read_recipe(FOLDER / f"{recipe}.yaml").passes == measured[row]
