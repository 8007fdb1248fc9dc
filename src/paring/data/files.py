"""Where data sets lie, and that they are what they should be."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

from paring.core.atomic import cache_home
from paring.errors import CorruptFileError, TaskError


def data_folders(given: str | Path | None = None) -> list[Path]:
    """The folders searched, in order: the one given, `PARING_DATA`, `../shared/data`, the user's cache."""
    if given is not None:
        return [Path(given)]
    named = os.environ.get("PARING_DATA")
    cache = cache_home() / "data"
    return [*([Path(named)] if named else []), Path("../shared/data"), cache]


def find_file(relative: str, sha256: str, given: str | Path | None = None, url: str | None = None) -> Path:
    """The file `relative` in the first data folder that has it, its checksum verified; else fetched from `url`.

    Raises: TaskError naming the folders searched if it is nowhere, CorruptFileError if it differs from `sha256`.
    """
    folders = data_folders(given)
    for folder in folders:
        for path in (folder / relative, folder / Path(relative).name):
            if path.is_file():
                return _verified(path, sha256)
    if url is not None and os.environ.get("PARING_OFFLINE", "0") == "0":
        try:
            return _fetched(url, folders[-1] / relative, sha256)
        except OSError:
            pass
    searched = ", ".join(str(folder) for folder in folders)
    where = f"and {url} could not be fetched" if url else "and it has no public address"
    raise TaskError(f"{relative}: not found in {searched}, {where}. Give --data DIR or set PARING_DATA to its folder.")


def _verified(path: Path, sha256: str) -> Path:
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != sha256:
        raise CorruptFileError(f"{path}: sha256 is {got[:12]}..., expected {sha256[:12]}.... Fetch the file again.")
    return path


def _fetched(url: str, path: Path, sha256: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            partial.write_bytes(answer.read())
        _verified(partial, sha256).rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
