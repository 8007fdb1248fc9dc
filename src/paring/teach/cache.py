"""A folder of a teacher's answers: sharded, checksummed, each shard whole or not there.

`teach.json` says whose answers they are; `shard-00000.safetensors` holds `output` and `layer/NAME` for a stretch of
rows, and `shard-00000.json`, written after it, its checksum and that of the inputs.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paring.core.task import Inputs, tensors_of
from paring.core.taught import Answers
from paring.errors import CorruptFileError, RunFolderError
from paring.graph.state import tensor_bytes, weights_digest

HEAD = "teach.json"


@dataclass(frozen=True)
class Head:
    """Whose answers: the teacher by its weights, the layers kept, the rows, and how many stand in a shard."""

    teacher: str
    layers: tuple[str, ...]
    num_rows: int
    shard_rows: int
    task: str = ""
    format: int = 1

    @property
    def num_shards(self) -> int:
        """How many shards make it whole."""
        return -(-self.num_rows // self.shard_rows)


@dataclass(frozen=True)
class Shard:
    """What is known of one shard: checksums of its file and of the inputs it answers, and its rows."""

    sha256: str
    inputs: str
    rows: int


def teacher_digest(model: nn.Module) -> str:
    """Sixteen hex digits over the teacher's structure and weights."""
    return weights_digest(model, repr(model))


def inputs_digest(batches: list[Inputs]) -> str:
    """Hex digest over the input rows, however they were cut into batches."""
    digests: dict[str, Any] = {}
    for inputs in batches:
        for name, tensor in tensors_of(inputs).items():
            digest = digests.setdefault(name, hashlib.sha256(f"{name} {tensor.dtype}".encode()))
            digest.update(tensor_bytes(tensor))
    return hashlib.sha256("".join(one.hexdigest() for one in digests.values()).encode()).hexdigest()[:16]


def open_head(folder: Path) -> Head:
    """The head of a cache. Raises RunFolderError if there is none, CorruptFileError if it is damaged."""
    path = folder / HEAD
    if not path.is_file():
        raise RunFolderError(
            f"{folder}: holds no teacher's answers. Make them with `paring teach TASK --out {folder}`."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Head(**{**data, "layers": tuple(data["layers"])})
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(f"{path}: cannot be read ({type(error).__name__}). Make the cache anew.") from error


def claim(folder: Path, head: Head) -> None:
    """Writes the head, or checks that the folder is the same cache begun before. Raises RunFolderError."""
    if not (folder / HEAD).is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunFolderError(f"{folder}: exists and holds no teacher's answers. Choose another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / HEAD, json.dumps(asdict(head), indent=1).encode())
        return
    found = open_head(folder)
    for key, what in (("teacher", "another teacher"), ("num_rows", "other data"), ("layers", "other layers")):
        if getattr(found, key) != getattr(head, key):
            raise RunFolderError(
                f"{folder}: holds the answers of {what} ({getattr(found, key)}, now {getattr(head, key)}). "
                "Choose another --out."
            )
    if found.shard_rows != head.shard_rows:
        raise RunFolderError(f"{folder}: was begun with {found.shard_rows} rows a shard. Go on with the same.")


def shard_path(folder: Path, number: int) -> Path:
    """The file of one shard."""
    return folder / f"shard-{number:05d}.safetensors"


def packed(answers: Answers) -> bytes:
    """The bytes of a shard's file."""
    tensors = {"output": answers.output, **{f"layer/{name}": x for name, x in answers.layers.items()}}
    return save({name: x.detach().cpu().contiguous() for name, x in tensors.items()})


def save_shard(folder: Path, number: int, data: bytes, rows: int, inputs: str) -> None:
    """Writes the shard `packed` as `data`, and then what vouches for it; `inputs` is the digest of what it answers."""
    path = shard_path(folder, number)
    write_whole(path, data)
    shard = Shard(hashlib.sha256(data).hexdigest(), inputs, rows)
    write_whole(path.with_suffix(".json"), json.dumps(asdict(shard)).encode())


def known_shard(folder: Path, number: int) -> Shard | None:
    """What vouches for a shard that is there, its file's checksum verified; None where it is missing.

    Raises: CorruptFileError for a file that is not what it was.
    """
    path = shard_path(folder, number)
    record = path.with_suffix(".json")
    if not record.is_file() or not path.is_file():
        return None
    try:
        shard = Shard(**json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CorruptFileError(f"{record}: cannot be read ({type(error).__name__}). Remove it, teach again.") from error
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != shard.sha256:
        raise CorruptFileError(
            f"{path}: sha256 is {got[:12]}..., expected {shard.sha256[:12]}.... Remove it, and teach again."
        )
    return shard


def load_shard(folder: Path, number: int) -> dict[str, Tensor]:
    """The tensors of one shard, mapped from the file rather than read."""
    with safe_open(shard_path(folder, number), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that is whole or not there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
