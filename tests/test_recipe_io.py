"""Recipes to and from YAML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch import nn

from paring import Task
from paring.catalog import PASSES, pass_class
from paring.core.edit import Step
from paring.core.recipe import Pass, Recipe
from paring.distill.response import Response
from paring.errors import OrderError, ParingError, RecipeError, SettingError, UnknownNameError
from paring.factorize.rank import Energy, Rank, Ratio
from paring.factorize.svd import Svd
from paring.finetune import Finetune
from paring.prune.magnitude import Magnitude
from paring.recipe_io import parse_recipe, read_recipe, recipe_hash, to_yaml


def test_values_and_objectives_are_read() -> None:
    recipe = parse_recipe(
        """
        name: example
        passes:
          - factorize.svd: {rank: {energy: 0.95}, exclude: head}
          - finetune: {epochs: 2, objective: {distill.response: {temperature: 4.5}}}
          - quantize.static
        """
    )
    assert recipe.passes[0] == Svd(rank=Energy(0.95), exclude=("head",))
    assert recipe.passes[1] == Finetune(epochs=2, objective=Response(temperature=4.5))
    assert recipe.passes[2].name == "quantize.static"
    assert str(recipe) == "example"


@pytest.mark.parametrize("name", sorted(PASSES))
def test_every_pass_round_trips_with_its_defaults(name: str) -> None:
    cls = pass_class(name)
    own = {"prune.iterative": {"step": Magnitude(sparsity=0.5)}, "allocate": {"speedup": 2.0}}.get(name, {})
    recipe = Recipe((cls(**own),))
    assert parse_recipe(to_yaml(recipe)) == recipe


@pytest.mark.parametrize("rank", [Rank(3), Ratio(0.25), Energy(0.9)])
def test_rank_choices_round_trip(rank: object) -> None:
    recipe = Recipe((Svd(rank=rank),), "ranks")  # type: ignore[arg-type]
    assert parse_recipe(to_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("passes: [prune.magnitud]", UnknownNameError, "did you mean 'prune.magnitude'? `paring passes` lists"),
        ("passes: [factorize.svd: {rnk: 2}]", UnknownNameError, "did you mean 'rank'?"),
        ("passes: [factorize.svd: {rank: {enrgy: 0.5}}]", UnknownNameError, "did you mean 'energy'?"),
        ("passes: [factorize.svd: {rank: {energy: 2}}]", SettingError, "must lie in (0, 1]"),
        ("passes: [factorize.svd: {rank: 7}]", RecipeError, "a single name with its settings"),
        ("passes: [finetune: {epochs: two}]", RecipeError, "must be a number"),
        ("passes: [finetune: {epochs: true}]", RecipeError, "must be a number"),
        ("passes: [finetune: {epochs: 1.5}]", RecipeError, "valid integer"),
        ("passes: [finetune: {epochs: 0}]", SettingError, "at least 1"),
        ("passes: [finetune: {schedule: cos}]", RecipeError, "'cosine'"),
        ("passes: [finetune: 3]", RecipeError, "must be a mapping"),
        ("passes: [finetune: {objective: distill.respons}]", UnknownNameError, "'distill.response'"),
        ("passes: [prune.magnitude: {sparsity: 1.5}]", SettingError, "sparsity"),
        ("passes: [prune.channels: {pruning_ratio: 0}]", SettingError, "pruning_ratio"),
        ("passes: 3", RecipeError, "`passes:`, a list"),
        ("passes: []\nextra: 1", RecipeError, "`passes:`, a list"),
        ("passes: [[1, 2]]", RecipeError, "a step is a pass name"),
        ("passes: [", RecipeError, "not valid YAML"),
    ],
)
def test_a_mistake_is_one_clear_line(text: str, kind: type[ParingError], words: str) -> None:
    with pytest.raises(kind) as caught:
        parse_recipe(text, "r.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("r.yaml")
    assert "\n" not in str(caught.value)


def test_order_is_checked_when_the_recipe_is_made() -> None:
    with pytest.raises(OrderError, match=r"step 2, prune.channels, cannot follow step 1, quantize.static"):
        parse_recipe("passes: [quantize.static, prune.channels]")


def test_hash_depends_on_settings_and_not_on_the_name() -> None:
    one, other = Recipe((Svd(),), "a"), Recipe((Svd(),), "b")
    assert recipe_hash(one) == recipe_hash(other)
    assert recipe_hash(one) != recipe_hash(Recipe((Svd(rank=Ratio(0.4)),)))


def test_reading_a_missing_file_says_so(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RecipeError, match=r"no such file\. Give the YAML file"):
        read_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read as a recipe"):
        read_recipe(tmp_path)


def test_a_pass_of_the_users_own_is_known_once_imported() -> None:
    @dataclass(frozen=True)
    class Own(Pass):
        name: ClassVar[str] = "mine.own"
        amount: int = 1

        def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
            yield from ()

    recipe = Recipe((Own(amount=3),))
    assert parse_recipe(to_yaml(recipe)) == recipe
    with pytest.raises(UnknownNameError, match=r"mine\.other"):
        parse_recipe("passes: [mine.other]")
