"""A file is there whole or not at all, whatever ends the writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from paring.core.atomic import cache_home, whole_file, write_atomically
from paring.errors import ExportError


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ExportError, match="taken: cannot be written"):
        write_atomically(tmp_path / "taken", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("error", [TimeoutError, KeyboardInterrupt, ValueError])
def test_what_breaks_off_leaves_the_file_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    write_atomically(tmp_path / "more" / "file", b"first")

    def broken_off() -> None:
        with whole_file(tmp_path / "more" / "file") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        broken_off()
    assert [(one.name, one.read_bytes()) for one in (tmp_path / "more").iterdir()] == [("file", b"first")]


def test_an_empty_variable_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", None):
        monkeypatch.setenv("XDG_CACHE_HOME", value) if value is not None else monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_home() == tmp_path / ".cache" / "paring"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    assert cache_home() == tmp_path / "kept" / "paring"
