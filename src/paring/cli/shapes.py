"""Input shapes on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from paring.errors import SettingError

ShapeOptions = Annotated[
    list[str] | None, typer.Option("--shape", help="Shape of an input where no task is given: NAME=1x128; repeatable.")
]


def shapes_of(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    """`["ids=1x128"]` -> `{"ids": (1, 128)}`. Raises SettingError."""
    shapes = {}
    for text in texts or ():
        name, _, sizes = text.rpartition("=")
        parts = sizes.lower().split("x")
        if not name or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise SettingError(f"--shape: got {text!r}; write NAME=1x128, whole numbers above 0.")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes
