"""Multiply-accumulates and bytes of operators, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from paring.errors import CorruptFileError, EngineError
from paring.measure.onnx_shapes import load_onnx, value_shapes
from paring.measure.onnx_types import element_bits, tensor_bytes
from paring.measure.onnx_work import work_of
from tests.measure.graphs import graph, mlp, quantized_mlp

F, I8, U8 = np.float32, np.int8, np.uint8
SCALE = {"s": ((), F), "zu": ((), U8), "zs": ((), I8)}
# name: (graph, weights, input shapes, MACs, bytes of weights, bytes of activations in and out)
OPS: dict[str, tuple[str, dict[str, Any], dict[str, tuple[int, ...]], int, float, float]] = {
    "MatMul": (
        "g (float[n, 3] x) => (float[n, 5] y) { y = MatMul(x, W) }",
        {"W": ((3, 5), F)}, {"x": (2, 3)}, 2 * 3 * 5, 60, 24 + 40,
    ),
    "MatMul of two activations": (
        "g (float[h, n, 3] x, float[h, 3, m] z) => (float[h, n, m] y) { y = MatMul(x, z) }",
        {}, {"x": (2, 4, 3), "z": (2, 3, 5)}, 2 * 4 * 5 * 3, 0, 4 * (24 + 30 + 40),
    ),
    "Gemm": (
        "g (float[3, n] x) => (float[n, 5] y) { y = Gemm<transA = 1>(x, W, b) }",
        {"W": ((3, 5), F), "b": ((5,), F)}, {"x": (3, 2)}, 2 * 3 * 5, 60 + 20, 24 + 40,
    ),
    "Conv in two groups": (
        "g (float[n, 4, 5, 5] x) => (float[n, 6, 5, 5] y) { y = Conv<group = 2, pads = [1, 1, 1, 1]>(x, W) }",
        {"W": ((6, 2, 3, 3), F)}, {"x": (1, 4, 5, 5)}, 6 * 25 * 2 * 9, 6 * 2 * 9 * 4, 4 * (100 + 150),
    ),
    "Conv with a stride": (
        "g (float[n, 1, 6, 6] x) => (float[n, 2, 2, 2] y) { y = Conv<strides = [2, 2]>(x, W) }",
        {"W": ((2, 1, 3, 3), F)}, {"x": (3, 1, 6, 6)}, 3 * 2 * 4 * 9, 72, 4 * (3 * 36 + 3 * 8),
    ),
    "ConvTranspose": (
        "g (float[n, 2, 3, 3] x) => (float[n, 4, 6, 6] y) { y = ConvTranspose<strides = [2, 2]>(x, W) }",
        {"W": ((2, 4, 2, 2), F)}, {"x": (1, 2, 3, 3)}, 18 * 4 * 4, 128, 4 * (18 + 144),
    ),
    "LSTM": (
        "g (float[t, n, 4] x) => (float[t, 1, n, 5] y) { y = LSTM<hidden_size = 5>(x, W, R) }",
        {"W": ((1, 20, 4), F), "R": ((1, 20, 5), F)}, {"x": (3, 2, 4)}, 3 * 2 * (80 + 100), 720, 4 * (24 + 30),
    ),
    "4-bit weights": (
        "g (float[n, 32] x) => (float[n, 4] y) "
        "{ y = com.microsoft.MatMulNBits<K = 32, N = 4, bits = 4, block_size = 32>(x, B, scales) }",
        {"B": ((4, 1, 16), U8), "scales": ((4,), F)}, {"x": (2, 32)}, 2 * 4 * 32, 64 + 16, 4 * (64 + 8),
    ),
    "Gather reads its rows and not its table": (
        "g (int64[n] ids) => (float[n, 8] y) { y = Gather(T, ids) }",
        {"T": ((100, 8), F)}, {"ids": (3,)}, 0, 0, 24 + 2 * 96,
    ),
    "Softmax": ("g (float[n, 8] x) => (float[n, 8] y) { y = Softmax(x) }", {}, {"x": (2, 8)}, 0, 0, 128),
    "MatMulInteger": (
        "g (uint8[n, 3] x) => (int32[n, 5] y) { y = MatMulInteger(x, W) }",
        {"W": ((3, 5), I8)}, {"x": (2, 3)}, 30, 15, 6 + 40,
    ),
    "ConvInteger": (
        "g (uint8[n, 1, 4, 4] x) => (int32[n, 2, 2, 2] y) { y = ConvInteger(x, W) }",
        {"W": ((2, 1, 3, 3), I8)}, {"x": (1, 1, 4, 4)}, 8 * 9, 18, 16 + 32,
    ),
    "QLinearMatMul": (
        "g (uint8[n, 3] x) => (uint8[n, 5] y) { y = QLinearMatMul(x, s, zu, W, s, zs, s, zu) }",
        {"W": ((3, 5), I8), **SCALE}, {"x": (2, 3)}, 30, 15 + 4 + 1 + 1, 6 + 10,
    ),
    "QLinearConv": (
        "g (uint8[n, 1, 4, 4] x) => (uint8[n, 2, 2, 2] y) { y = QLinearConv(x, s, zu, W, s, zs, s, zu) }",
        {"W": ((2, 1, 3, 3), I8), **SCALE}, {"x": (1, 1, 4, 4)}, 8 * 9, 18 + 4 + 1 + 1, 16 + 8,
    ),
}  # fmt: skip
INTEGER = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")


@pytest.mark.parametrize("name", OPS)
def test_an_operator_by_hand(name: str) -> None:
    text, weights, inputs, macs, weight_bytes, activation_bytes = OPS[name]
    (work,) = work_of(graph(text, **weights), inputs)
    assert (work.macs, work.weight_bytes, work.activation_bytes) == (macs, weight_bytes, activation_bytes)
    assert work.compute == ("int8" if name in INTEGER else "float")


def test_what_engines_fold_away_is_left_out_and_shared_weights_have_one_name() -> None:
    works = work_of(mlp(), {"x": (2, 4)})
    assert [(work.kind, work.name, work.macs) for work in works] == [("Gemm", "h", 64), ("Gemm", "y", 48)]
    assert works[0].weights == {"fc1.weight": 128, "fc1.bias": 32}
    twice = graph("g (float[n, 3] x) => (float[n, 3] y) { h = MatMul(x, W)  y = MatMul(h, W) }", W=((3, 3), F))
    assert [work.weights for work in work_of(twice, {"x": (1, 3)})] == [{"W": 36}, {"W": 36}]


def test_integers_count_at_their_stored_size_also_when_they_leave() -> None:
    first, second = work_of(quantized_mlp(), {"x": (2, 4)})
    assert (first.compute, second.compute) == (
        "int8",
        "int8",
    )  # the second weight is transposed after it is dequantized
    assert (first.weights, second.weights) == ({"w1": 32}, {"w2": 24})
    assert first.activation_bytes == 2 * 4 + 2 * 8  # the ReLU is folded in, and what leaves is quantized
    assert second.activation_bytes == 2 * 8 + 4 * 2 * 3
    assert (first.macs, second.macs) == (64, 48)


def test_weights_stored_short_count_as_stored_and_floats_as_the_engine_keeps_them() -> None:
    cast = graph(
        "g (float[n, 3] x) => (float[n, 5] y) { f = Cast<to = 1>(W)  y = MatMul(x, f) }", W=((3, 5), np.float16)
    )
    (work,) = work_of(cast, {"x": (2, 3)})
    assert (work.weights, work.compute) == ({"W": 30}, "float")
    (half,) = work_of(graph(OPS["Gemm"][0], **OPS["Gemm"][1]), {"x": (3, 2)}, float_bits=16)
    assert (half.weight_bytes, half.activation_bytes) == (40, 32)
    text, weights, inputs, *_ = OPS["Gather reads its rows and not its table"]
    (rows,) = work_of(graph(text, **weights), inputs, float_bits=16)
    assert rows.activation_bytes == 24 + 2 * 48  # the ids stay 64 bits wide


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("FLOAT", 32), ("DOUBLE", 64), ("FLOAT16", 16), ("BFLOAT16", 16), ("INT8", 8), ("UINT8", 8), ("INT4", 4),
     ("UINT4", 4), ("INT64", 64), ("BOOL", 8), ("FLOAT8E4M3FN", 8), ("UNDEFINED", 0)],
)  # fmt: skip
def test_bits_of_every_type(kind: str, bits: int) -> None:
    assert element_bits(onnx.TensorProto.DataType.Value(kind)) == bits


def test_packed_tensors_round_up_to_whole_bytes() -> None:
    assert tensor_bytes(onnx.TensorProto(dims=[3, 3], data_type=onnx.TensorProto.INT4)) == 5
    assert tensor_bytes(onnx.TensorProto(dims=[3, 3], data_type=onnx.TensorProto.FLOAT)) == 36
    assert tensor_bytes(onnx.TensorProto(dims=[], data_type=onnx.TensorProto.FLOAT)) == 4


def test_shapes_that_only_a_run_can_tell_are_found() -> None:
    text = """g (float[n, 6] x) => (float[m, k] y) {
        shape = Shape(x)
        half = Div(shape, two)
        swapped = Gather(half, order)
        z = Expand(one, swapped)
        y = MatMul(z, W)
    }"""
    weights = {"two": ((1,), np.int64), "order": ((2,), np.int64), "one": ((1,), F), "W": ((6, 2), F)}
    found = value_shapes(graph(text, **weights), {"x": (4, 6)})
    assert found["z"] == ((6, 6), 32) and found["y"] == ((6, 2), 32) and found["W"] == ((6, 2), 32)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"x": (2, 4, 1)}, r"input 'x' is \(2, 4, 1\), and the file takes \(\?, 4\)"),
        ({"x": (2, 5)}, r"input 'x' is \(2, 5\), and the file takes \(\?, 4\)"),
        ({}, "give a shape for its input 'x'"),
    ],
)
def test_a_shape_that_does_not_fit_is_one_line(inputs: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(EngineError, match=words):
        value_shapes(mlp(), inputs)


def test_a_file_that_is_no_onnx_is_one_line(tmp_path: Any) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "none.onnx").write_bytes(onnx.ModelProto(ir_version=10).SerializeToString())
    for name in ("text.onnx", "none.onnx"):
        with pytest.raises(CorruptFileError, match=rf"{name}: it is no sound ONNX file"):
            load_onnx(tmp_path / name)
    with pytest.raises(EngineError, match="there is no such file"):
        load_onnx(tmp_path / "absent.onnx")


def test_a_graph_that_does_not_run_says_that_sizes_are_unknown() -> None:
    odd = graph("g (float[n, 4] x) => (float[n, k] y) { y = Frobnicate(x) }")
    with pytest.raises(EngineError, match="the sizes inside the file are unknown: onnxruntime cannot run it"):
        work_of(odd, {"x": (2, 4)})
