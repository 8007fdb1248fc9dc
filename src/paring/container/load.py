"""A file ready to run, whichever of the two forms it has."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from paring.container.file import is_container, unpack
from paring.core.target import Target
from paring.engines import FileSession, open_session

DEFAULT = Target("onnxruntime")


def load(path: str | Path, target: Target = DEFAULT) -> FileSession:
    """A session over an ONNX file, a `.paring` container or an artifact folder; needs no torch.

    A container is unpacked to a temporary file, which is gone once the engine has read it.
    Raises: CorruptFileError for a container or model that is not sound, EngineError.
    Example: `load("model.paring").run({"inputs": x})`.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.onnx" if (path / "model.onnx").is_file() else path / "model.paring"
    if not is_container(path):
        return open_session(path, target)
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        unpack(path, model)
        return open_session(model, target)
