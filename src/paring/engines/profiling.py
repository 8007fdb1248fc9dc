"""Time per operator as the engines themselves report it. Needs no torch."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from paring.core.target import Target
from paring.engines.inputs import fitted
from paring.engines.protocol import Arrays, Shapes

SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class Event:
    """One operator as the engine runs it: its own name, the names or outputs of what was fused into it, mean time."""

    name: str
    kind: str
    parts: tuple[str, ...]
    ms: float


@dataclass(frozen=True)
class EngineTimes:
    """Mean over calls: the operators' times and the call they add up to, in milliseconds."""

    events: tuple[Event, ...]
    call_ms: float


def onnxruntime_times(path: Path, target: Target, inputs: Arrays, *, calls: int = 20) -> EngineTimes:
    """Times from ONNX Runtime's own profile. `parts` are the values an operator makes. Raises EngineError."""
    import onnx

    from paring.engines.onnxruntime import OPTIMIZED, open_onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        session = open_onnxruntime(_named(path, Path(folder)), target, exact=False, profile=Path(folder))
        for _ in range(calls + 1):
            session.run(inputs)
        events = json.loads(Path(session.native.end_profiling()).read_text(encoding="utf-8"))
        graph = onnx.load(str(Path(folder) / OPTIMIZED), load_external_data=False).graph
    outputs = {node.name: tuple(node.output) for node in graph.node}
    runs = sorted((e for e in events if e["name"] == "model_run"), key=lambda event: float(event["ts"]))
    begin = float(runs[1]["ts"])  # the first call allocates
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(SUFFIX) and float(event["ts"]) >= begin:
            spent[event["name"].removesuffix(SUFFIX), event["args"]["op_name"]] += event["dur"]
    found = [Event(name, kind, outputs.get(name, ()), us / 1e3 / calls) for (name, kind), us in spent.items()]
    return EngineTimes(tuple(found), sum(run["dur"] for run in runs[1:]) / 1e3 / calls)


def _named(path: Path, folder: Path) -> Path:
    """The file, or a copy whose nameless nodes bear the names of what they make: the profile knows nodes by name."""
    import onnx

    from paring.engines import check_file

    check_file(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
        nameless = [node for node in model.graph.node if not node.name and node.output]
        if not nameless:
            return path
        model = onnx.load(str(path))  # its weights too, wherever they lie
    except Exception:  # no ONNX: the engine says so in better words
        return path
    for node in model.graph.node:
        node.name = node.name or next(iter(node.output), "")
    onnx.save(model, str(folder / "named.onnx"))
    return folder / "named.onnx"


def openvino_times(
    path: Path, target: Target, inputs: Arrays, *, calls: int = 20, static: Shapes | None = None
) -> EngineTimes:
    """Times from OpenVINO's performance counters. `parts` are names of the nodes behind an operator."""
    import openvino

    from paring.engines.openvino import open_openvino

    executed = openvino.ProfilingInfo.Status.EXECUTED
    session = open_openvino(path, target, exact=False, static=static, profile=True)
    request = session.native.create_infer_request()
    feed = list(fitted(str(path), session.inputs, inputs).values())
    request.infer(feed)
    spent: dict[tuple[str, str], float] = defaultdict(float)
    start = time.perf_counter()
    passed = 0.0
    for _ in range(calls):
        start = time.perf_counter()
        request.infer(feed)
        passed += time.perf_counter() - start
        for entry in request.profiling_info:
            if entry.status == executed:  # however quickly: its clock counts microseconds
                spent[entry.node_name, entry.node_type] += entry.real_time.total_seconds() * 1e6
    parts = {
        op.get_friendly_name(): tuple(op.get_rt_info()["originalLayersNames"].value.split(","))
        for op in session.native.get_runtime_model().get_ordered_ops()
        if "originalLayersNames" in op.get_rt_info()
    }
    found = [Event(name, kind, parts.get(name, ()), us / 1e3 / calls) for (name, kind), us in spent.items()]
    return EngineTimes(tuple(found), passed * 1e3 / calls)
