"""Where the time goes: operators of the shipped engine, told by the modules of the original model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from paring.core.target import Target
from paring.engines.inputs import free_inputs
from paring.engines.profiling import EngineTimes, Event, onnxruntime_times, openvino_times
from paring.engines.protocol import Arrays, Shapes
from paring.measure.onnx_modules import is_heavy, module_map, one_module, producers, saved_node_map
from paring.measure.onnx_shapes import load_onnx
from paring.measure.onnx_work import FREE


@dataclass(frozen=True)
class OpTime:
    """One operator: its name and type in the engine, the module it belongs to ("" for none), mean milliseconds."""

    op: str
    kind: str
    module: str
    ms: float


@dataclass(frozen=True)
class Profile:
    """Operators of one file (or of eager PyTorch) on one Target; `call_ms` is the call they are part of."""

    what: str
    target: Target
    call_ms: float
    ops: tuple[OpTime, ...]

    @property
    def attributed(self) -> float:
        """Share of the operators' time that belongs to a named module."""
        total = sum(op.ms for op in self.ops)
        return sum(op.ms for op in self.ops if op.module) / total if total else 0.0

    @property
    def covered(self) -> float:
        """Share of the call that its operators account for; the rest is the engine, Python and the profiler itself."""
        return min(sum(op.ms for op in self.ops) / self.call_ms, 1.0) if self.call_ms else 0.0

    def by_module(self, depth: int | None = None) -> dict[str, float]:
        """Module name (cut to `depth` parts) -> milliseconds, slowest first."""
        spent: dict[str, float] = defaultdict(float)
        for op in self.ops:
            spent[".".join(op.module.split(".")[:depth])] += op.ms
        return dict(sorted(spent.items(), key=lambda pair: -pair[1]))


def profile_file(
    path: str | Path, target: Target, inputs: Arrays | None = None, *, shapes: Shapes | None = None, calls: int = 20
) -> Profile:
    """The file at `path` (or in the artifact folder `path`) on `target`, mean over `calls` calls.

    The engine's profiler slows the call a little; only shares are to be read from it. A fused operator belongs to the
    module of its heaviest part. Raises: EngineError, CorruptFileError.
    """
    path = Path(path) / "model.onnx" if Path(path).is_dir() else Path(path)
    model = load_onnx(path)
    if inputs is None:
        from paring.engines import open_session

        inputs = free_inputs(path, open_session(path, target).inputs, target.batch_size, shapes)
    if target.engine == "openvino":
        static = {name: array.shape for name, array in inputs.items()} if target.static_shapes else None
        times = openvino_times(path, target, inputs, calls=calls, static=static)
    else:
        times = onnxruntime_times(path, target, inputs, calls=calls)
    return attribute(str(path), target, times, model, saved_node_map(path))


def attribute(
    what: str, target: Target, times: EngineTimes, model: onnx.ModelProto, node_map: Mapping[str, str] | None
) -> Profile:
    """The engine's operators with their modules."""
    places = _Places(model, module_map(model, node_map))
    ops = tuple(OpTime(event.name, event.kind, places.module_of(event), event.ms) for event in times.events)
    return Profile(what, target, times.call_ms, ops)


class _Places:
    """Finds the nodes of the file behind an operator of the engine."""

    def __init__(self, model: onnx.ModelProto, modules: Mapping[str, str]) -> None:
        self.modules = modules
        self.kinds = {node.name or node.output[0]: node.op_type for node in model.graph.node}
        self.makers = producers(model)
        self.inputs = {node.name or node.output[0]: list(node.input) for node in model.graph.node}

    def module_of(self, event: Event) -> str:
        names = [self.node_of(name) for name in (event.name, *event.parts)]
        found = [name for name in dict.fromkeys(names) if name]
        if is_heavy(event.kind) and not any(is_heavy(self.kinds[name]) for name in found):
            found = [*self._products_before(found), *found]  # a product fused with what follows bears its name
        module = one_module((self.modules[name], self.kinds[name]) for name in found)
        # What the engine added (a reorder, a broadcast) is called after what it serves.
        return module or self._by_weight(event)

    def node_of(self, name: str) -> str:
        """The file's node behind a name: a node, a value it makes, or either with a suffix (`n33/transpose_b`)."""
        for candidate in (name, name.partition("/")[0], name.partition("_")[0], name.removesuffix("_MatMulAdd")):
            if candidate in self.kinds:
                return candidate
            if candidate in self.makers:
                return self.makers[candidate]
        return ""

    def _products_before(self, names: list[str]) -> list[str]:
        """The nearest products that these nodes work on, through elementwise nodes only."""
        level, seen = names, set(names)
        while level:
            made = [self.makers[value] for name in level for value in self.inputs[name] if value in self.makers]
            level = [name for name in dict.fromkeys(made) if name not in seen]
            if products := [name for name in level if is_heavy(self.kinds[name])]:
                return products
            level = [name for name in level if self.kinds[name] in FREE]
            seen.update(level)
        return []

    def _by_weight(self, event: Event) -> str:
        known = {module for module in self.modules.values() if module}
        for name in (event.name, *event.parts):
            module = name.rpartition(".")[0]
            if module in known:
                return module
        return ""
