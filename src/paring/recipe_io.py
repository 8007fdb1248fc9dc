"""Recipes to and from YAML, strictly validated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from paring.catalog import pass_class
from paring.core.recipe import Recipe
from paring.errors import ParingError, RecipeError
from paring.settings import build, changed_settings


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a YAML file, named for the file. Raises RecipeError, UnknownNameError, SettingError, OrderError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f"{path}: no such file. Give the YAML file of a recipe; `paring passes` lists what it may hold."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as a recipe ({type(error).__name__}). Give a YAML file.") from error
    return parse_recipe(text, str(path), name=path.stem)


def parse_recipe(text: str, where: str = "recipe", name: str = "") -> Recipe:
    """The recipe in a YAML text: `passes:`, a list of pass names or of single-key mappings name -> settings."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, Mapping) or not isinstance(data.get("passes"), list) or data.keys() - {"passes", "name"}:
        got = f"the keys {', '.join(map(str, data)) or 'none'}" if isinstance(data, Mapping) else type(data).__name__
        raise RecipeError(f"{where}: got {got}; a recipe is a mapping with `passes:`, a list, and optionally `name:`.")
    passes = []
    for position, entry in enumerate(data["passes"], start=1):
        step = f"{where}: step {position}"
        if isinstance(entry, str):
            entry = {entry: None}
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise RecipeError(
                f"{step}: got {entry!r}; a step is a pass name, or one pass name with its settings indented below it."
            )
        ((pass_name, settings),) = entry.items()
        try:
            passes.append(build(pass_class(str(pass_name)), settings, str(pass_name)))
        except ParingError as error:
            error.args = (f"{step}: {error}",)
            raise
    return Recipe(tuple(passes), str(data.get("name") or name))


def to_yaml(recipe: Recipe) -> str:
    """The YAML that `parse_recipe` reads back as an equal recipe; settings at their defaults are left out."""
    steps = [{step.name: changed_settings(step)} if changed_settings(step) else step.name for step in recipe.passes]
    head = {"name": recipe.name} if recipe.name else {}
    return yaml.safe_dump(head | {"passes": steps}, sort_keys=False, allow_unicode=True)


def recipe_hash(recipe: Recipe) -> str:
    """Twelve hex digits that depend on the passes and their settings, not on the recipe's name."""
    steps = [[step.name, changed_settings(step)] for step in recipe.passes]
    return hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()[:12]
