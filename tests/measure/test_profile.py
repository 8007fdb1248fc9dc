"""Operators and their modules: planted events, then every node and every real operator of two nets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from paring import Task
from paring.artifacts.onnx import write_onnx
from paring.core.target import Target
from paring.engines.profiling import EngineTimes, Event
from paring.errors import CorruptFileError, EngineError
from paring.measure.onnx_modules import SCOPES, module_map, one_module, producers, saved_node_map
from paring.measure.onnx_shapes import load_onnx
from paring.measure.profile import OpTime, Profile, attribute, profile_file
from paring.measure.profile_eager import profile_eager
from tests.measure.graphs import graph, mlp
from tests.nets import encoder_task, image_task

ENGINES = pytest.mark.parametrize(
    "target", [Target(), Target("openvino", static_shapes=True)], ids=lambda target: target.engine
)


def test_shares_and_modules_add_up() -> None:
    ops = (
        OpTime("a", "Gemm", "block.0.fc", 3.0), OpTime("b", "Gemm", "block.0.out", 2.0),
        OpTime("c", "Gemm", "head", 4.0), OpTime("d", "Reorder", "", 1.0),
    )  # fmt: skip
    told = Profile("file", Target(), 20.0, ops)
    assert told.attributed == pytest.approx(0.9) and told.covered == pytest.approx(0.5)
    assert list(told.by_module().items()) == [("head", 4.0), ("block.0.fc", 3.0), ("block.0.out", 2.0), ("", 1.0)]
    assert told.by_module(depth=1) == {"block": 5.0, "head": 4.0, "": 1.0}
    empty = Profile("file", Target(), 0.0, ())
    assert (empty.attributed, empty.covered, empty.by_module()) == (0.0, 0.0, {})


def attributed(model: onnx.ModelProto, *events: Event, node_map: dict[str, str] | None = None) -> list[str]:
    times = EngineTimes(events, 1.0)
    return [op.module for op in attribute("file", Target(), times, model, node_map).ops]


def test_an_engine_s_names_lead_back_to_nodes() -> None:
    events = [
        Event("h", "Gemm", (), 1.0),  # a node by its name
        Event("fused", "Gemm", ("y",), 1.0),  # what it makes
        Event("h/WithoutBiases", "FullyConnected", (), 1.0),  # with a suffix
        Event("r_nchwc", "Reorder", (), 1.0),  # after a ReLU, which no module owns
        Event("both", "Subgraph", ("r", "y"), 1.0),  # fused: the product's module
        Event("fc2.weight_packed", "Reorder", (), 1.0),  # after the weight it serves
        Event("unheard of", "Reorder", (), 1.0),
    ]
    assert attributed(mlp(), *events) == ["fc1", "fc2", "fc1", "", "fc2", "fc2", ""]


def test_a_product_that_bears_the_name_of_what_was_fused_after_it_is_found() -> None:
    assert attributed(mlp(), Event("r", "FusedGemm", (), 1.0)) == ["fc1"]
    text = (
        "g (float[n, 3] x) => (float[n, 3] y) { a = MatMul(x, one__weight)  b = Relu(a)  c = Add(b, x)  y = Relu(c) }"
    )
    model = graph(text, **{"one.weight": ((3, 3), np.float32)})
    assert attributed(model, Event("y_nchwc", "Conv", (), 1.0), Event("y", "Relu", (), 1.0)) == ["one", ""]


def test_the_saved_map_goes_before_the_exporter_s_and_that_before_names_of_weights() -> None:
    model = mlp()
    assert module_map(model) == {"h": "fc1", "r": "", "y": "fc2"}
    for node in model.graph.node:
        scopes = ["", "stack", f"stack.{node.op_type.lower()}@3", "linear"]
        node.metadata_props.add(key=SCOPES, value=str(scopes))
    assert module_map(model) == {"h": "stack.gemm", "r": "stack.relu", "y": "stack.gemm"} | {"h": "fc1", "y": "fc2"}
    known = {"h": "first", "y": "second"}
    twice = {"fc1": "h", "fc2": "y"}
    assert module_map(model, known | {"r": "fc1"})["y"] == "fc2"
    assert module_map(model, {node: module for module, node in twice.items()} | {"r": "act"}) == {
        "h": "fc1", "r": "act", "y": "fc2",
    }  # fmt: skip


def test_a_weight_that_two_products_share_names_neither() -> None:
    text = "g (float[n, 3] x) => (float[n, 3] y) { a = MatMul(x, one__weight)  y = MatMul(a, one__weight) }"
    model = graph(text, **{"one.weight": ((3, 3), np.float32)})
    assert module_map(model, {"a": "one", "y": "two"}) == {"a": "one", "y": "two"}
    assert module_map(model, {"a": "left", "y": "right"}) == {"a": "left", "y": "right"}


def test_a_folded_norm_gives_its_product_back() -> None:
    assert module_map(mlp(), {"h": "norm", "y": "fc2"})["h"] == "fc1"


def test_the_heaviest_part_of_a_fusion_decides_else_the_first_that_has_a_module() -> None:
    assert one_module([("norm", "Add"), ("conv", "Conv"), ("fc", "Gemm")]) == "conv"
    assert one_module([("", "Add"), ("norm", "Mul"), ("act", "Relu")]) == "norm"
    assert one_module([("", "Conv"), ("act", "Relu")]) == "act"
    assert one_module([]) == ""


def test_values_lead_to_the_nodes_that_make_them() -> None:
    assert producers(mlp()) == {"h": "h", "r": "r", "y": "y"}


def test_the_map_is_found_beside_the_file_or_in_the_manifest(tmp_path: Path) -> None:
    assert saved_node_map(tmp_path / "model.onnx") is None
    (tmp_path / "manifest.json").write_text(json.dumps({"node_map": {"h": "shipped"}}))
    assert saved_node_map(tmp_path / "model.onnx") == saved_node_map(tmp_path) == {"h": "shipped"}
    (tmp_path / "nodes.json").write_text(json.dumps({"h": "measured"}))
    assert saved_node_map(tmp_path) == {"h": "measured"}
    for damaged in ("", "[]", "3"):
        (tmp_path / "nodes.json").write_text(damaged)
        assert saved_node_map(tmp_path) is None
    (tmp_path / "nodes.json").unlink()
    (tmp_path / "manifest.json").write_text("{}")
    assert saved_node_map(tmp_path) is None


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Task]]:
    """A task's net as a file with its node map beside it, each made once."""
    made: dict[str, tuple[Path, Task]] = {}

    def make(name: str) -> tuple[Path, Task]:
        if name not in made:
            task = {"residual": image_task, "encoder": encoder_task}[name]()
            path = tmp_path_factory.mktemp(name) / "model.onnx"
            (path.parent / "nodes.json").write_text(json.dumps(write_onnx(task.model, task, path)))
            made[name] = path, task
        return made[name]

    return make


def test_every_node_of_a_residual_net_has_its_module(exported: Callable[[str], tuple[Path, Task]]) -> None:
    path, _ = exported("residual")
    model = load_onnx(path)
    modules = module_map(model, saved_node_map(path))
    placed = [(node.op_type, modules[node.name]) for node in model.graph.node]
    assert placed == [
        ("Conv", "stem"), ("Relu", ""), ("Conv", "conv1"), ("Relu", ""), ("Conv", "conv2"), ("Add", ""), ("Relu", ""),
        ("ReduceMean", ""), ("Gemm", "head"),
    ]  # fmt: skip


def test_every_node_of_an_encoder_has_its_module(exported: Callable[[str], tuple[Path, Task]]) -> None:
    path, _ = exported("encoder")
    model = load_onnx(path)
    modules = module_map(model, saved_node_map(path))
    order = list(dict.fromkeys(modules[node.name] for node in model.graph.node))
    layers = [
        f"encoder.layers.{index}{part}"
        for index in range(2)
        for part in (".self_attn", "", ".norm1", ".linear1", ".linear2", ".norm2")
    ]
    assert order == ["embed", *layers, "", "head"]  # "" is the mean over tokens, which no module does
    assert [node.op_type for node in model.graph.node if not modules[node.name]] == ["ReduceMean"]
    attention = [node.op_type for node in model.graph.node if modules[node.name] == "encoder.layers.1.self_attn"]
    assert attention.count("MatMul") == 3 and attention.count("Softmax") == attention.count("Gemm") == 1


PRODUCTS = {
    "residual": ["stem", "conv1", "conv2", "head"],
    "encoder": [*(f"encoder.layers.{i}.{part}" for i in range(2) for part in ("linear1", "linear2")), "head"],
}


@ENGINES
@pytest.mark.parametrize("net", ["residual", "encoder"])
def test_operators_of_a_real_engine_lead_to_modules(
    net: str, target: Target, exported: Callable[[str], tuple[Path, Task]]
) -> None:
    path, task = exported(net)
    inputs = {"inputs": np.asarray(task.example_inputs)}
    told = profile_file(path, target, inputs, calls=2)
    known = {name for name, _ in task.model.named_modules()}
    assert {op.module for op in told.ops} <= known
    heavy = [op.module for op in told.ops if op.kind in ("Conv", "Convolution", "Gemm", "MatMul", "FullyConnected")]
    assert set(heavy) >= set(PRODUCTS[net]) and "" not in heavy
    assert 0 < told.attributed <= 1 and 0 < told.covered <= 1
    assert (told.what, told.target) == (str(path), target)
    assert profile_file(path.parent, target, inputs, calls=1).what == str(path)


@ENGINES
def test_a_file_alone_is_profiled_on_zeros(target: Target, tmp_path: Path) -> None:
    onnx.save(mlp(), tmp_path / "mlp.onnx")
    told = profile_file(tmp_path / "mlp.onnx", target, shapes={"x": (5, 4)}, calls=1)
    modules = {op.module for op in told.ops if op.module}
    assert modules == {"fc1", "fc2"} if target.engine == "onnxruntime" else modules  # OpenVINO may fuse both into one
    assert modules <= {"fc1", "fc2"}
    with pytest.raises(EngineError, match=r"input 'x' cannot be \(5, 3\): the file takes \(\?, 4\)"):
        profile_file(tmp_path / "mlp.onnx", target, shapes={"x": (5, 3)})
    (tmp_path / "bad.onnx").write_text("no onnx")
    with pytest.raises(CorruptFileError, match="it is no sound ONNX file"):
        profile_file(tmp_path / "bad.onnx", target)


@pytest.mark.parametrize("net", ["residual", "encoder"])
def test_eager_operators_stand_under_the_innermost_module(
    net: str, exported: Callable[[str], tuple[Path, Task]]
) -> None:
    _, task = exported(net)
    task.model.train()
    task.model.get_submodule("head").eval()
    told = profile_eager(task, task.model, task.example_inputs, calls=2)
    named = dict(task.model.named_modules())
    assert {op.module for op in told.ops} <= named.keys()
    linear = {op.module for op in told.ops if op.kind == "aten::linear"}
    assert "head" in linear and all(isinstance(named[name], nn.Linear) or "attn" in name for name in linear)
    assert told.target == Target("torch") and told.what == "eager"
    assert task.model.training and not task.model.get_submodule("head").training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in task.model.modules())
    task.model.eval()


def test_a_forward_that_fails_leaves_no_hook_behind(exported: Callable[[str], tuple[Path, Task]]) -> None:
    _, task = exported("residual")
    with pytest.raises(Exception, match="channels"):
        profile_eager(task, task.model, torch.ones(2, 3, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in task.model.modules())
    told: Any = profile_eager(task, task.model, task.example_inputs, calls=1)
    assert {op.module for op in told.ops if op.kind == "aten::linear"} == {"head"}
