"""Files that exist whole or not at all. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from paring.errors import ExportError


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` beside `path`, syncs it and renames it into place. Raises ExportError (a full disk, no rights)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}.") from error
