"""Files that exist whole or not at all, and the folder of what is kept between runs. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from paring.errors import ExportError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when the block ends well. Raises ExportError (full disk, no rights)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except TimeoutError:  # an OSError, but of whoever set the time
        raise
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}.") from error


def write_atomically(path: Path, data: bytes) -> None:
    """`data` as a whole file at `path`. Raises ExportError."""
    with whole_file(path) as file:
        file.write(data)


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/paring`, or `~/.cache/paring`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paring"
