"""Which module of the original model each node of an ONNX file comes from."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
HEAVY = ("Conv", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Attention")


def saved_node_map(path: str | Path) -> dict[str, str] | None:
    """The node map beside a file: a candidate's `nodes.json` or an artifact's `manifest.json`; None without one."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    try:
        if (folder / "nodes.json").is_file():
            held = json.loads((folder / "nodes.json").read_text(encoding="utf-8"))
        else:
            held = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["node_map"]
    except (OSError, ValueError, KeyError):
        return None
    return held if isinstance(held, dict) else None


def module_map(model: onnx.ModelProto, node_map: Mapping[str, str] | None = None) -> dict[str, str]:
    """Node name -> module name, "" where it is unknown.

    The saved map first, then what torch's exporter wrote beside each node, then the name of the weight a node reads
    (`encoder.fc1.weight` -> `encoder.fc1`).
    """
    known = dict(node_map or {})
    stored = {tensor.name for tensor in model.graph.initializer}
    modules = {}
    for node in model.graph.node:
        name = node.name or (node.output[0] if node.output else "")
        modules[name] = known.get(name) or _scope(node) or _weight(node, stored)
    return modules


def producers(model: onnx.ModelProto) -> dict[str, str]:
    """Value name -> name of the node that makes it."""
    return {value: node.name or node.output[0] for node in model.graph.node for value in node.output if value}


def one_module(parts: Iterable[tuple[str, str]]) -> str:
    """The module a fused operator belongs to: that of its heaviest part (a product), else of its first named part.

    Args:
        parts: (module, operator type) of each.
    """
    named = [(module, kind) for module, kind in parts if module]
    heavy = [module for module, kind in named if any(word in kind for word in HEAVY)]
    return heavy[0] if heavy else (named[0][0] if named else "")


def _scope(node: onnx.NodeProto) -> str:
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = [scope for scope in ast.literal_eval(entry.value)[:-1] if scope]
            return str(scopes[-1]).split("@")[0] if scopes else ""
    return ""


def _weight(node: onnx.NodeProto, stored: set[str]) -> str:
    names = [name for name in node.input if name in stored and "." in name]
    return names[0].rpartition(".")[0] if names else ""
