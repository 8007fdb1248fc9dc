"""One model as it is served: the very bytes that the manifest vouches for, opened, tried once, and then immutable."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from paring.artifacts.manifest import MANIFEST, read_manifest, verify_artifact
from paring.core.target import EngineName, Precision, Target
from paring.engines import installed_engines, open_session, precisions
from paring.engines.inputs import free_inputs
from paring.engines.protocol import Array, Arrays, FileSession, InputSpec
from paring.errors import CorruptFileError, EngineError
from paring.serve.decode import metadata

VERSION_DIGITS = 12
CHUNK = 1 << 20


@dataclass(frozen=True)
class Choice:
    """What the user fixed of the Target; None leaves it to the manifest, which knows where the file was fastest."""

    engine: str | None = None
    precision: str | None = None
    threads: int = 1


@dataclass(frozen=True)
class Model:
    """An opened file. `version` is the beginning of its sha256; `batchable` says whether rows of several requests may
    share a call: every input and output has a free first dimension."""

    version: str
    target: Target
    session: FileSession
    inputs: tuple[InputSpec, ...]
    outputs: tuple[InputSpec, ...]
    batchable: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.outputs)

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Output name -> array. Raises EngineError."""
        return dict(zip(self.output_names, self.session.run(inputs), strict=True))

    def same_interface(self, other: Model) -> bool:
        """Whether requests that fit one fit the other."""
        return (self.inputs, self.outputs) == (other.inputs, other.outputs)


def open_model(path: Path, choice: Choice = Choice()) -> Model:
    """The artifact folder, or .onnx file, at `path`, ready to answer.

    Of an artifact every checksum is verified, and the bytes that are opened are a private copy that was hashed while it
    was made, so that a file changed at that moment is never run.
    Raises: CorruptFileError, EngineError.
    """
    manifest = verify_artifact(path) if path.is_dir() else {}
    file = path / "model.onnx" if path.is_dir() else path
    target = _target(manifest.get("measurement") or {}, choice)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"
        digest = _copied(file, copy)
        written = manifest["files"].get("model.onnx", {}).get("sha256") if manifest else digest
        if written != digest:
            raise CorruptFileError(f"{file}: it is not the file of the manifest, or changed while it was read.")
        session = open_session(copy, target)
        model = Model(
            version=digest[:VERSION_DIGITS],
            target=target,
            session=session,
            inputs=tuple(session.inputs),
            outputs=tuple(session.answers),
            batchable=_free_first(session.inputs) and _free_first(session.answers),
        )
        metadata((*model.inputs, *model.outputs))
        model.run(free_inputs(file, model.inputs))  # a model that cannot answer never replaces one that can
    return model


def stamp(path: Path) -> tuple[object, ...]:
    """Changes whenever the files of `path` do; cheap enough to look at every second. Nothing there: empty."""
    files = [path / MANIFEST, path / "model.onnx"] if path.is_dir() else [path]
    try:
        seen = [file.stat() for file in files if file.exists()]
    except OSError:
        return ()
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in seen)


def fallback(target: Target) -> Target:
    """`target` on an engine and in a precision that this machine has. Raises EngineError if it has no engine."""
    here = [name for name in installed_engines() if name != "torch"]
    if not here:
        raise EngineError("no engine is installed. Run: pip install onnxruntime")
    engine = target.engine if target.engine in here else here[0]
    precision = target.precision if target.precision in precisions(engine) else precisions(engine)[0]
    return replace(target, engine=engine, precision=precision)


def summary(path: Path) -> dict[str, Any]:
    """What the manifest says of the file, for people: name, metric and drop; empty without one."""
    if not path.is_dir():
        return {}
    told = read_manifest(path).get("measurement") or {}
    return {key: told[key] for key in ("name", "metric_name", "metric", "drop", "file_bytes") if key in told}


def _target(measured: dict[str, Any], choice: Choice) -> Target:
    """The user's choice, else where the file was fastest, else what is here; shapes stay free, since batches vary."""
    engine, precision = measured.get("engine"), measured.get("precision")
    known = engine in get_args(EngineName) and precision in get_args(Precision) and engine != "torch"
    best = Target(engine, precision) if known else Target()  # type: ignore[arg-type]
    target = replace(fallback(best), threads=choice.threads)
    if choice.engine is not None:
        target = replace(target, engine=choice.engine, precision="fp32")  # type: ignore[arg-type]
        if choice.engine == best.engine and best.precision in precisions(choice.engine):
            target = replace(target, precision=best.precision)
    return target if choice.precision is None else replace(target, precision=choice.precision)  # type: ignore[arg-type]


def _copied(source: Path, to: Path) -> str:
    """sha256 of the bytes written."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as read, to.open("wb") as write:
            while piece := read.read(CHUNK):
                digest.update(piece)
                write.write(piece)
    except FileNotFoundError:
        raise EngineError(f"{source}: there is no such file; give an artifact folder or an .onnx file.") from None
    return digest.hexdigest()


def _free_first(specs: Sequence[InputSpec]) -> bool:
    return all(spec.shape is not None and len(spec.shape) > 0 and spec.shape[0] is None for spec in specs)
