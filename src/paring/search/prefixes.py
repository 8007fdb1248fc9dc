"""What the first steps of a recipe gave, kept so that recipes which begin alike do the work once."""

from __future__ import annotations

import shutil
from pathlib import Path

from paring.core.candidate import Candidate
from paring.core.recipe import Recipe
from paring.errors import CorruptFileError
from paring.recipe_io import recipe_hash
from paring.store import load_candidate, save_candidate, whole_folder

MOST = 12


class Prefixes:
    """Candidates of recipes' beginnings under `folder`, the `most` used last. Each is whole or not there."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder, self._most = folder, most

    def longest(self, recipe: Recipe) -> Candidate | None:
        """The longest beginning of `recipe` that is kept, shorter than the recipe itself."""
        for length in range(len(recipe.passes) - 1, 0, -1):
            path = self._path(Recipe(recipe.passes[:length]))
            if path.is_dir():
                try:
                    found = load_candidate(path)
                except CorruptFileError:
                    shutil.rmtree(path, ignore_errors=True)
                    continue
                path.touch()
                return found
        return None

    def keep(self, candidate: Candidate) -> None:
        """Keeps it, and drops what was not used for longest."""
        path = self._path(candidate.recipe)
        if not path.is_dir():
            with whole_folder(path) as partial:
                save_candidate(candidate, partial)
        kept = sorted(
            (one for one in self._folder.iterdir() if not one.name.startswith(".")), key=lambda one: one.stat().st_mtime
        )
        for old in kept[: -self._most]:
            shutil.rmtree(old, ignore_errors=True)

    def _path(self, recipe: Recipe) -> Path:
        return self._folder / recipe_hash(recipe)
