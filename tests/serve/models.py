"""Small files to serve, and servers over them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from paring.artifacts.manifest import write_manifest
from paring.serve.app import App
from paring.serve.http import background
from paring.serve.journal import Journal
from paring.serve.limits import Limits
from paring.serve.metrics import Metrics
from paring.serve.model import Choice
from paring.serve.repository import Repository

W = np.subtract.outer(np.arange(3), np.arange(2)).astype(np.float32)
X = np.arange(6, dtype=np.float32).reshape(2, 3)
SHORT = {"drain_s": 0.0, "stop_s": 5.0}


def graph(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **weights: Any) -> Path:
    """Writes a graph of standard operators."""
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "graph", inputs, outputs, held)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def linear(path: Path, weight: np.ndarray = W) -> Path:
    """x (batch, 3) -> y = x @ weight (batch, 2)."""
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    return graph(path, [node], [tensor("x", "batch", 3)], [tensor("y", "batch", weight.shape[1])], W=weight)


def lookup(path: Path) -> Path:
    """ids (batch, length) int64, mask the same -> the table's row of each id, masked, summed: (batch, 2)."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "first"], ["y"], keepdims=0),
    ]
    whole = [tensor(name, "batch", "length", kind=TensorProto.INT64) for name in ("ids", "mask")]
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    return graph(path, nodes, whole, [tensor("y", "batch", 2)], table=table, last=np.array([2]), first=np.array([1]))


def artifact(folder: Path, weight: np.ndarray = W) -> Path:
    """`linear` as an artifact folder, with its checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    linear(folder / "model.onnx", weight)
    write_manifest(folder, recipe="passes: []", edits=[], machine={}, measurement={})
    return folder


@dataclass
class Served:
    """A running server: where it answers, and what stands behind it."""

    url: str
    app: App
    log: io.StringIO

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


@contextmanager
def serving(
    token: str | None = None, engine: str | None = None, limits: dict[str, Any] | None = None, **paths: Path
) -> Iterator[Served]:
    """A server over `paths` on a free port of this machine."""
    bounds = Limits(**(SHORT | (limits or {})))
    log = io.StringIO()
    journal, metrics = Journal(to=log), Metrics()
    models = Repository(paths, Choice(engine), bounds, journal, metrics)
    app = App(models, bounds, metrics, journal, token)
    try:
        with background(app) as url:
            yield Served(url, app, log)
    finally:
        journal.close()
