"""The run folder: whole candidates or none, and nobody else's."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from paring import Candidate, compress, load_candidate, open_run, rebuild
from paring.core.edit import Declined
from paring.core.recipe import Recipe
from paring.errors import CorruptFileError, ExportError, RunFolderError
from paring.factorize.rank import Rank
from paring.factorize.svd import Svd
from paring.store import fingerprint, read_json, save_candidate, whole_folder, write_json
from tests.runs import SHORT, tiny_task, vectors

CONDITIONS = SHORT.conditions()


@pytest.fixture
def candidate() -> Candidate:
    """The second Linear is too narrow for rank 3, and declined."""
    return compress(tiny_task(), Recipe((Svd(rank=Rank(3)),), "low rank"))


@pytest.fixture
def saved(candidate: Candidate, tmp_path: Path) -> Path:
    save_candidate(candidate, tmp_path)
    return tmp_path


def test_a_candidate_comes_back_whole(candidate: Candidate, saved: Path) -> None:
    loaded = load_candidate(saved)
    assert (loaded.recipe, loaded.edits, loaded.declined) == (candidate.recipe, candidate.edits, candidate.declined)
    assert candidate.edits and isinstance(candidate.declined[0], Declined)
    x, _ = vectors()
    assert torch.equal(rebuild(loaded, tiny_task())(x), rebuild(candidate, tiny_task())(x))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def retag(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("edits.json", truncate, "edits.json: cannot be read as JSON"),
        ("edits.json", lambda path: path.write_text("[]"), "it must be a mapping"),
        ("edits.json", retag, "format 99; this version reads up to 1. Upgrade"),
        ("edits.json", Path.unlink, "edits.json: cannot be read"),
        ("weights.safetensors", truncate, "weights.safetensors: cannot be read"),
        ("weights.safetensors", Path.unlink, "weights.safetensors: cannot be read"),
    ],
)
def test_a_damaged_candidate_is_refused_by_name(saved: Path, file: str, damage: Any, words: str) -> None:
    damage(saved / file)
    with pytest.raises(CorruptFileError, match=words) as caught:
        load_candidate(saved)
    assert "\n" not in str(caught.value)


def fill(final: Path, error: BaseException) -> None:
    """Half-fills the folder and fails."""
    with whole_folder(final) as partial:
        (partial / "file.txt").write_text("half")
        raise error


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), KeyboardInterrupt(), SystemExit(1), TimeoutError("time is up")],
    ids=lambda e: type(e).__name__,
)
def test_whole_folder_leaves_nothing_when_its_block_fails(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fill(tmp_path / "final", error)
    assert list(tmp_path.iterdir()) == []


def test_whole_folder_keeps_what_was_there_when_its_block_fails(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole_folder(tmp_path / "final") as partial:
            (partial / "file.txt").write_text(text)
        assert (tmp_path / "final" / "file.txt").read_text() == text
    with pytest.raises(ValueError, match="too late"):
        fill(tmp_path / "final", ValueError("too late"))
    assert (tmp_path / "final" / "file.txt").read_text() == "new"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        fill(tmp_path / "final", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert str(caught.value).startswith(f"{tmp_path / 'final'}: the disk is full. Free some space")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_fit_the_disk_are_said_so(candidate: Candidate, tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC."""
    (tmp_path / "weights.safetensors").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:  # noqa: PT011
        save_candidate(candidate, tmp_path)
    assert caught.value.errno == errno.ENOSPC


def test_a_json_file_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here first")
    with pytest.raises(ExportError, match=r"run\.json: cannot be written: "):
        write_json(tmp_path / "file" / "run.json", {})


def test_a_run_folder_is_made_and_resumed(tmp_path: Path) -> None:
    folder = open_run(tmp_path / "out", tiny_task(), CONDITIONS)
    head = read_json(folder.path / "run.json")
    assert head["task"] == "tiny" and head["conditions"] == CONDITIONS
    assert open_run(tmp_path / "out", tiny_task(), CONDITIONS) == folder


def test_resuming_removes_what_killed_processes_left_and_spares_living_ones(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = open_run(tmp_path, tiny_task(), CONDITIONS)
    stale, alive = (folder.candidate(f".abc.{pid}.partial") for pid in (dead.pid, os.getpid()))
    for partial in (stale, alive):
        partial.mkdir(parents=True)
        (partial / "model.onnx").write_bytes(b"half")
    (tmp_path / f".results.json.{dead.pid}.partial").write_text("{")
    open_run(tmp_path, tiny_task(), CONDITIONS)
    assert list(folder.path.rglob(".*.partial")) == [alive]


def test_foreign_folders_are_refused_and_left_alone(tmp_path: Path) -> None:
    open_run(tmp_path / "run", tiny_task(), CONDITIONS)
    with pytest.raises(RunFolderError, match=r"run: holds a run of another task, model or data \(tiny\)"):
        open_run(tmp_path / "run", tiny_task(seed=1), CONDITIONS)
    with pytest.raises(RunFolderError, match=r"holds a run of other conditions .*'threads': 1"):
        open_run(tmp_path / "run", tiny_task(), {**CONDITIONS, "threads": 2})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match="exists and is no run folder"):
        open_run(tmp_path / "mine", tiny_task(), CONDITIONS)
    with pytest.raises(RunFolderError, match="exists and is no run folder"):
        open_run(tmp_path / "mine" / "thesis.tex", tiny_task(), CONDITIONS)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_newer_run_folder_asks_for_an_upgrade(tmp_path: Path) -> None:
    open_run(tmp_path, tiny_task(), CONDITIONS)
    retag(tmp_path / "run.json")
    with pytest.raises(CorruptFileError, match=r"run\.json: format 99"):
        open_run(tmp_path, tiny_task(), CONDITIONS)


def test_fingerprint_sees_weights_data_labels_and_seed_and_nothing_else() -> None:
    same = fingerprint(tiny_task())
    assert fingerprint(tiny_task()) == same
    heavier = tiny_task()
    heavier.model[0].weight.data[0, 0] += 1e-6  # type: ignore[index, union-attr]
    x, y = vectors()
    others = [
        heavier,
        tiny_task(seed=1),
        tiny_task(validation=[(x + 1e-6, y)]),
        tiny_task(test=[(x, y.flip(0))]),
        tiny_task(calibration=None),
    ]
    assert len({same, *(fingerprint(task) for task in others)}) == 1 + len(others)


def test_fingerprint_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    fingerprint(tiny_task())
    assert torch.equal(torch.get_rng_state(), before)
