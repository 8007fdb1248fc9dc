"""Cores and the clock, held by one worker at a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from paring.search import locks
from paring.search.locks import alone_on_this_machine, cores_of_own


@pytest.fixture(autouse=True)
def four_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that no search under way on this machine sees."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(locks, "usable_cores", lambda: (2, 3, 5, 7))


def test_trials_of_one_machine_share_no_core() -> None:
    with cores_of_own(1) as first, cores_of_own(2) as second, cores_of_own(1) as third:
        assert sorted(first + second + third) == [2, 3, 5, 7]
    with cores_of_own(4) as all_of_them:
        assert all_of_them == (2, 3, 5, 7)


def test_a_machine_with_fewer_cores_gives_all_of_them() -> None:
    with cores_of_own(64) as cores:
        assert cores == (2, 3, 5, 7)


def test_a_trial_waits_for_its_cores() -> None:
    got: list[tuple[int, ...]] = []

    def take() -> None:
        with cores_of_own(3) as cores:
            got.append(cores)

    waiting = threading.Thread(target=take)
    with cores_of_own(2):
        waiting.start()
        waiting.join(3 * locks.LOOK_S)
        assert got == []
    waiting.join(60)
    assert len(got) == 1 and len(got[0]) == 3


def test_a_worker_that_dies_gives_its_cores_back(tmp_path: Path) -> None:
    code = (
        f"import os, tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"
        "from paring.search import locks; locks.usable_cores = lambda: (2, 3, 5, 7)\n"
        "locks.cores_of_own(4).__enter__(); os._exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 1
    with cores_of_own(4) as cores:
        assert len(cores) == 4


def test_one_reads_the_clock_while_others_hold_cores() -> None:
    with cores_of_own(2), cores_of_own(2), alone_on_this_machine(), pytest.raises(BlockingIOError):
        locks._locked("timing", wait=False).__enter__()
