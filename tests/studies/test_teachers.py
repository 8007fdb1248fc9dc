"""Teachers are trained once, and a training that was killed is not lost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

import paring.studies.teachers
from paring.core.scratch import Scratch
from paring.core.stream import drain
from paring.studies.teachers import cache_folder, trained
from paring.train import Training
from tests.nets import image_task

TRAINING = Training(epochs=2, learning_rate=1e-3)


def test_a_killed_training_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paring.studies.teachers, "Scratch", partial(Scratch, every_s=0.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "whole"))
    task = image_task()
    whole = drain(trained(task, TRAINING)).model
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "broken"))
    broken = trained(task, TRAINING)
    steps = [next(broken) for _ in range(3)]
    broken.close()
    going_on = list(trained(task, TRAINING))
    assert steps[-1].done == 3 and going_on[0].done == 3  # from the checkpoint behind the second
    again = drain(trained(task, TRAINING)).model  # from the cache by now
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert [path.suffix for path in cache_folder().rglob("*") if path.is_file()] == [".safetensors"]


def test_without_the_cache_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    drain(trained(image_task(), TRAINING, cache=False))
    assert not list(tmp_path.rglob("*"))
