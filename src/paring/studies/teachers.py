"""Teachers for the studies: trained once by the library's own loop, cached, and reused."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from paring.core.atomic import cache_home, write_atomically
from paring.core.edit import Progress
from paring.core.objective import Supervised
from paring.core.scratch import Scratch
from paring.core.task import Task
from paring.store import fingerprint
from paring.train import Training, fit


def trained(task: Task, training: Training, *, cache: bool = True) -> Generator[Progress, None, Task]:
    """The task with its model trained by `training`; taken from the cache where the same training was done before.

    The cache key covers the untrained weights, the data, the seed and the settings, so it never serves another net.
    A training that was killed goes on from its last checkpoint, which lies beside the cache until it is done.
    """
    key = hashlib.sha256(f"{fingerprint(task)} {training.key()} {torch.__version__}".encode()).hexdigest()[:16]
    path = cache_folder() / f"{task.name}-{key}.safetensors"
    model = copy.deepcopy(task.model)
    if cache and path.is_file():
        yield Progress(1, 1, f"teacher from {path}")
        model.load_state_dict(load_file(path))
        _forget(path.with_suffix(".training"))
        return replace(task, model=model.eval())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        kept = replace(task, scratch=Scratch(path.with_suffix(".training"))) if cache else task
        yield from fit(model, kept, Supervised(), training, resumable=cache)
    if cache:
        write_atomically(path, save(model.state_dict()))
        _forget(path.with_suffix(".training"))
    return replace(task, model=model.eval())


def _forget(folder: Path) -> None:
    """Takes away whole checkpoints, and the folder if nothing else is in it: another process may be writing there."""
    for checkpoint in folder.glob("*.safetensors"):
        checkpoint.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def cache_folder() -> Path:
    """Where teachers are kept: `$XDG_CACHE_HOME/paring/teachers`."""
    return cache_home() / "teachers"
