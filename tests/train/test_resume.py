"""Killed with -9 in mid-epoch and started again, a training ends with the uninterrupted run's weights, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from paring.core.objective import Supervised
from paring.core.scratch import Scratch
from paring.errors import CorruptFileError, SettingError
from paring.train import Training, fit
from tests.nets import image_task
from tests.train.killed import Killing

ROOT = Path(__file__).parents[2]


def start(scratch: Path | str, out: Path, kill_at: int = 0) -> int:
    command = [sys.executable, "-m", "tests.train.killed", str(scratch), str(out), str(kill_at)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


def test_killed_twice_in_mid_epoch_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    assert start("-", tmp_path / "whole.safetensors") == 0
    scratch = tmp_path / "scratch"
    assert start(scratch, tmp_path / "never", kill_at=16) == -signal.SIGKILL  # the sixth of ten batches, second epoch
    assert not (tmp_path / "never").exists()
    (left,) = scratch.iterdir()
    assert left.suffix == ".safetensors", "no half-written file is left"
    # The batches of the broken epoch are drawn again to come to the place: five, then seven new ones.
    assert start(scratch, tmp_path / "never", kill_at=12) == -signal.SIGKILL
    assert start(scratch, tmp_path / "again.safetensors") == 0
    whole, again = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "again"))
    assert whole.keys() == again.keys() and any(name.endswith("mask") for name in whole)
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []


def train(scratch: Scratch | None, rate: float = 1e-2, asked: Killing | None = None):  # type: ignore[no-untyped-def]
    task = image_task()
    task = replace(task, train=asked or task.train, scratch=scratch)
    torch.manual_seed(0)
    steps = list(fit(task.model, task, Supervised(), Training(epochs=2, learning_rate=rate), resumable=True))
    return task.model, steps


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, every_s=1000)
    first, steps = train(scratch)
    counted = Killing(image_task().train, at=0)
    again, told = train(scratch, asked=counted)
    assert counted.asked == 0
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters(), strict=True))
    assert [s.epoch for s in told if s.epoch] == [s.epoch for s in steps if s.epoch]


def test_another_training_takes_no_notice(tmp_path: Path) -> None:
    train(Scratch(tmp_path))
    counted = Killing(image_task().train, at=0)
    train(Scratch(tmp_path), rate=2e-2, asked=counted)
    assert counted.asked == 6 and len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(Scratch(tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptFileError, match="Remove it to start anew"):
        train(Scratch(tmp_path))
    with pytest.raises(SettingError, match="every_s"):
        Scratch(tmp_path, -1)
