"""The run folder: whole candidates only, nothing pickled, nothing lost.

`out/run.json` says whose folder it is; `out/candidates/<hash>/` holds one candidate each, written beside its final name
and renamed into place, so that a killed run leaves only whole ones.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from paring.core.atomic import write_atomically
from paring.core.candidate import Candidate
from paring.core.check import SPLITS
from paring.core.edit import Declined, Edit, Epoch
from paring.core.task import Task, tensors_of
from paring.errors import CorruptFileError, RunFolderError
from paring.graph.state import take_state, tensor_bytes
from paring.recipe_io import read_recipe, recipe_hash, to_yaml

FORMAT = 1


@dataclass(frozen=True)
class RunFolder:
    """An output folder that belongs to one task under fixed conditions (threads, batch size, splits)."""

    path: Path

    def candidate(self, candidate_hash: str) -> Path:
        """Where the candidate with this recipe hash lies, or will lie."""
        return self.path / "candidates" / candidate_hash

    def training(self, candidate_hash: str) -> Path:
        """Where the trainings of this candidate leave checkpoints; gone once the candidate is whole."""
        return self.path / "training" / candidate_hash

    @property
    def artifact(self) -> Path:
        """Where the chosen file lies."""
        return self.path / "artifact"


def open_run(path: str | Path, task: Task, conditions: Mapping[str, Any]) -> RunFolder:
    """The run folder at `path`, made if absent, resumed if it belongs to this task and these conditions.

    Raises: RunFolderError if it belongs to another task, was measured otherwise, or is no run folder but not empty.
    """
    path = Path(path)
    head = {"format": FORMAT, "task": task.name, "fingerprint": fingerprint(task), "conditions": dict(conditions)}
    known = path / "run.json"
    if known.is_file():
        found = _read_known(known)
        for key, what in (("fingerprint", "another task, model or data"), ("conditions", "other conditions")):
            if found.get(key) != head[key]:
                got = f"{found.get('task')} {found.get('conditions')}" if key == "conditions" else found.get("task")
                raise RunFolderError(
                    f"{path}: holds a run of {what} ({got}). Choose another --out, or remove the folder."
                )
        _sweep(path)
        return RunFolder(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunFolderError(f"{path}: exists and is no run folder of Paring. Choose another --out.")
    write_json(known, head)
    return RunFolder(path)


def fingerprint(task: Task) -> str:
    """Hex digest over the model's structure and weights, the first batch of every split, metric and seed."""
    digest = hashlib.sha256(f"{task.model!r} {task.metric.name} {task.seed}".encode())
    state, aliases = take_state(task.model)
    for name, tensor in state.items():
        _feed(digest, name, tensor)
    digest.update(json.dumps(aliases, sort_keys=True).encode())
    for split in SPLITS:
        data = getattr(task, split)
        if data is None:
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)
            inputs, target = next(iter(data))
        for name, tensor in tensors_of({**tensors_of(inputs), "target": target}).items():
            _feed(digest, f"{split} {name}", tensor)
    return digest.hexdigest()


def save_candidate(candidate: Candidate, folder: Path) -> None:
    """Writes recipe.yaml, edits.json and weights.safetensors into `folder`."""
    (folder / "recipe.yaml").write_text(to_yaml(candidate.recipe), encoding="utf-8")
    log = {
        "format": FORMAT,
        "edits": [edit.to_json() for edit in candidate.edits],
        "declined": [[declined.layer, declined.reason] for declined in candidate.declined],
        "aliases": dict(candidate.aliases),
        "history": [asdict(epoch) for epoch in candidate.history],
    }
    write_json(folder / "edits.json", log)
    # Not `save_file`, whose error for a full disk is no OSError and has no errno.
    (folder / "weights.safetensors").write_bytes(save(dict(candidate.state)))


def load_candidate(folder: str | Path) -> Candidate:
    """The candidate that `save_candidate` wrote. Raises CorruptFileError for a damaged or newer folder."""
    folder = Path(folder)
    log = _read_known(folder / "edits.json")
    try:
        state = load_file(folder / "weights.safetensors")
    except Exception as error:
        raise CorruptFileError(f"{folder / 'weights.safetensors'}: cannot be read: {error}") from error
    return Candidate(
        read_recipe(folder / "recipe.yaml"),
        tuple(Edit.from_json(edit) for edit in log["edits"]),
        tuple(Declined(layer, reason) for layer, reason in log["declined"]),
        state,
        log["aliases"],
        tuple(Epoch(**epoch) for epoch in log.get("history", ())),
    )


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill that takes its final name only when the block ends well; else nothing is left of it.

    Raises: RunFolderError for a full disk or a folder that may not be written.
    """
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        for path in sorted(partial.rglob("*")):
            _sync(path)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _sync(final.parent)
    except TimeoutError:  # an OSError, but of whoever set the time
        raise
    except OSError as error:
        raise _cannot_write(final, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Writes `data` as JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all. Raises ExportError if it cannot be written."""
    write_atomically(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises CorruptFileError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path}: cannot be read as JSON ({type(error).__name__}).") from error
    if not isinstance(data, dict):
        raise CorruptFileError(f"{path}: holds a {type(data).__name__}; it must be a mapping.")
    return data


def candidate_hash(candidate: Candidate) -> str:
    """The folder name of a candidate: twelve hex digits of its recipe."""
    return recipe_hash(candidate.recipe)


def _read_known(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file of a format that this version reads. Raises CorruptFileError."""
    data = read_json(path)
    if not isinstance(data.get("format"), int) or data["format"] > FORMAT:
        got = data.get("format")
        raise CorruptFileError(f"{path}: format {got!r}; this version reads up to {FORMAT}. Upgrade Paring.")
    return data


def _sweep(path: Path) -> None:
    """Removes what killed processes left half-written (`whole_folder`); a living one's is left alone."""
    for partial in path.rglob(".*.[0-9]*.partial"):
        if not psutil.pid_exists(int(partial.suffixes[-2][1:])):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def _cannot_write(path: Path, error: OSError) -> RunFolderError:
    if error.errno == errno.ENOSPC:
        return RunFolderError(f"{path}: the disk is full. Free some space and run again: whole candidates are kept.")
    return RunFolderError(f"{path}: cannot be written: {error.strerror or error}. Choose another --out.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _feed(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(tensor_bytes(tensor))
