from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from paring.artifacts.verify import check_parity, compare, relative_error, tolerance_of
from paring.core.target import EngineName, Target
from paring.engines import has_vnni, open_session
from paring.errors import ParityError
from paring.graph.weight_only import DynamicLinear
from tests.artifacts.conftest import CASES, Exported
from tests.kernels import kernels_of

ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
LAYERS = {"conv int8": (3, 2), "mlp int8": (0, 3), "dict int8": (0, 2)}  # convolutions, linears


SETTINGS = [(engine, exact) for engine in ENGINES for exact in (True, False)]


@pytest.mark.parametrize(("engine", "exact"), SETTINGS)
@pytest.mark.parametrize("name", CASES)
def test_file_computes_what_the_model_computes(
    exports: dict[str, Exported], name: str, engine: EngineName, exact: bool
) -> None:
    if name.endswith("full") and not has_vnni() and (engine, exact) != ("onnxruntime", True):
        pytest.skip("full-range weights may saturate here: a processor without VNNI adds products in 16 bits")
    done = exports[name]
    session = open_session(done.path, Target(engine=engine), exact=exact)
    assert check_parity(session, done.model, done.task) < (1e-4 if name == "conv float" else 1e-2)


@pytest.mark.parametrize("name", LAYERS)
def test_onnxruntime_executes_every_layer_in_integers(exports: dict[str, Exported], name: str, tmp_path: Path) -> None:
    counts = kernels_of(exports[name].path, tmp_path)
    convolutions, linears = LAYERS[name]
    assert counts["QLinearConv"] == convolutions
    assert counts["QGemm"] + counts["QLinearMatMul"] + counts["MatMulIntegerToFloat"] == linears
    assert not counts.keys() & {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}


@pytest.mark.parametrize("name", LAYERS)
def test_openvino_executes_every_layer_in_integers(exports: dict[str, Exported], name: str) -> None:
    compiled = openvino.Core().compile_model(str(exports[name].path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    counts: Counter[str] = Counter()
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        kind = info["layerType"].astype(str)
        if kind in ("Convolution", "FullyConnected", "MatMul"):
            assert info["primitiveType"].astype(str).endswith("_I8")
            assert info["runtimePrecision"].astype(str) in ("u8", "i8")
            counts["conv" if kind == "Convolution" else "linear"] += 1
    assert (counts["conv"], counts["linear"]) == LAYERS[name]


def test_another_model_is_told_apart(exports: dict[str, Exported]) -> None:
    done = exports["conv int8"]
    other = copy.deepcopy(done.model)
    other.fc2.bias.add_(1.0)
    session = open_session(done.path, Target(), exact=True)
    with pytest.raises(ParityError, match=r"^here: batch 1: .* relative .*0\.02 allowed.*at most") as caught:
        check_parity(session, other, done.task, where="here")
    assert "\n" not in str(caught.value)


def test_compare_takes_the_worst_batch_and_refuses_other_shapes_and_nan() -> None:
    one = np.ones((2, 3), np.float32)
    assert compare([one, one * 1.01], [one, one], 0.1) == pytest.approx(0.01, rel=1e-4)
    assert relative_error(np.full(3, 0.5), np.zeros(3)) == 0.5
    with pytest.raises(ParityError, match=r"batch 2: it answers \(2,\)"):
        compare([one, one[:, 0]], [one, one], 0.1)
    with pytest.raises(ParityError, match="nan relative"):
        compare([one * np.nan], [one], 0.1)


def test_a_deep_net_may_round_to_the_other_side_in_more_places() -> None:
    def net(num_rounding: int) -> nn.Module:
        layers = [nn.Linear(2, 2) for _ in range(num_rounding + 3)]
        for layer in layers[3:]:
            layer.register_buffer("input_scale", torch.ones(()))
        return nn.Sequential(*layers)

    assert [tolerance_of(net(n)) for n in (0, 1, 16, 64)] == pytest.approx([1e-4, 0.02, 0.02, 0.04])
    dynamic = nn.Sequential(*(DynamicLinear(nn.Linear(2, 2), 127) for _ in range(64)))  # they round as it comes
    assert tolerance_of(dynamic) == pytest.approx(0.04)
