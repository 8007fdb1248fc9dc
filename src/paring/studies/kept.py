"""What a look at a part found, kept in the part's folder, so that a second run repeats nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict
from pathlib import Path

from paring.core.edit import Progress
from paring.core.recipe import Recipe
from paring.recipe_io import recipe_hash
from paring.store import read_json, write_json
from paring.studies.sheets import Looked, Sheet


def kept(
    folder: Path, name: str, recipes: Iterable[Recipe], look: Callable[[], Generator[Progress, None, Looked]]
) -> Generator[Progress, None, Looked]:
    """The look, or what it found when it was last taken, under this name, at the same recipes."""
    key = hashlib.sha256(" ".join(recipe_hash(one) for one in recipes).encode()).hexdigest()[:16]
    path = folder / "looks" / f"{name.replace(' ', '-')}.json"
    if path.is_file() and (said := read_json(path)).get("key") == key:
        return Looked(tuple(_sheet(**one) for one in said["sheets"]), said["more"])
    looked = yield from look()
    write_json(path, {"key": key, "sheets": [asdict(sheet) for sheet in looked.sheets], "more": looked.more})
    return looked


def _sheet(name: str, title: str, note: str, columns: list[list[str]], rows: list[dict], folder: str) -> Sheet:  # type: ignore[type-arg]
    pairs = tuple((key, head) for key, head in columns)
    return Sheet(name, title, note, pairs, tuple(rows), folder)
