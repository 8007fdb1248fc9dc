"""What was measured once, as JSON in the machine's cache."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from paring.core.atomic import write_atomically
from paring.errors import CorruptFileError

Stored = TypeVar("Stored")


def write_kept(path: Path, found: Stored, kind: type[Stored]) -> None:
    """Whole or not at all."""
    write_atomically(path, TypeAdapter(kind).dump_json(found, indent=1))


def read_kept(path: Path, kind: type[Stored], what: str) -> Stored:
    """What `write_kept` wrote. Raises CorruptFileError that names `what` it should be."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFileError(f"{path}: cannot be read as {what}. Remove it to build it anew.") from error
