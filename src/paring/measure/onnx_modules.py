"""Which module of the original model each node of an ONNX file comes from."""

from __future__ import annotations

import ast
import json
from collections import Counter
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
    (`encoder.fc1.weight` -> `encoder.fc1`). A product into which a batch norm was folded bears the norm's name: it goes
    back to the module of its weight, if nothing else reads that weight and no other node is that module's.
    """
    known = dict(node_map or {})
    stored = {tensor.name for tensor in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input if name in stored)
    modules = {}
    lost = {}
    for node in model.graph.node:
        name = node.name or (node.output[0] if node.output else "")
        modules[name] = known.get(name) or _scope(node) or _weight(node, stored)
        if is_heavy(node.op_type) and readers[_weight_name(node, stored)] == 1:
            lost[name] = _weight(node, stored)
    present = set(modules.values())
    return modules | {name: module for name, module in lost.items() if module and module not in present}


def producers(model: onnx.ModelProto) -> dict[str, str]:
    """Value name -> name of the node that makes it."""
    return {value: node.name or node.output[0] for node in model.graph.node for value in node.output if value}


def one_module(parts: Iterable[tuple[str, str]]) -> str:
    """The module a fused operator belongs to: that of its heaviest part (a product), else of its first named part.

    Args:
        parts: (module, operator type) of each.
    """
    named = [(module, kind) for module, kind in parts if module]
    heavy = [module for module, kind in named if is_heavy(kind)]
    return heavy[0] if heavy else (named[0][0] if named else "")


def is_heavy(kind: str) -> bool:
    """Whether an operator of this type (in the file or in an engine) multiplies matrices."""
    return any(word in kind for word in HEAVY)


def _scope(node: onnx.NodeProto) -> str:
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = [scope for scope in ast.literal_eval(entry.value)[:-1] if scope]
            return str(scopes[-1]).split("@")[0] if scopes else ""
    return ""


def _weight(node: onnx.NodeProto, stored: set[str]) -> str:
    return _weight_name(node, stored).rpartition(".")[0]


def _weight_name(node: onnx.NodeProto, stored: set[str]) -> str:
    return next((name for name in node.input if name in stored and "." in name), "")
