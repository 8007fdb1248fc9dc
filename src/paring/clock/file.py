"""A chain of operations as a small ONNX file with random weights, to be timed.

Nodes are written as the exporter writes them, over a batch of any size: engines fuse what they recognize, and a file
that is written otherwise runs in other kernels.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from paring.clock.chain import Chain, Gather, Gemm, Op

INPUT, OUTPUT = "x", "y"
STEP = 0.05  # of every quantizer: only the clock looks at these numbers


def chain_file(
    chain: Chain, shape: tuple[int, ...], *, int8: bool = False, stored_bits: int | None = None, seed: int = 0
) -> bytes:
    """The file's bytes: `x` of this shape in, `y` out. With `int8`, each operation has uint8 inputs and int8 weights.

    With `stored_bits` (8 or 4) weights are integers and inputs floats.

    Example: `chain_file((Gemm(768, 64, False), Gemm(64, 3072)), (1, 128, 768))`.
    """
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng(seed)
    nodes: list[Any] = []
    stored: list[Any] = []
    flowing, into = INPUT, shape
    for place, op in enumerate(chain):
        given = OUTPUT if place == len(chain) - 1 else f"v{place}"
        if isinstance(op, Gather) and stored_bits:
            more_nodes, more_stored = _rows(op, flowing, given, str(place), rng, stored_bits)
        elif isinstance(op, Gather) or not (int8 or stored_bits):
            more_nodes, more_stored = _float(op, len(into), flowing, given, str(place), rng)
        elif int8:
            more_nodes, more_stored = _integer(op, len(into), flowing, given, str(place), rng)
        else:
            more_nodes, more_stored = _stored(op, len(into), flowing, given, str(place), rng, stored_bits or 8)
        nodes += more_nodes
        stored += more_stored
        flowing, into = given, op.output_shape(into)
    kind = TensorProto.INT64 if isinstance(chain[0], Gather) else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info(INPUT, kind, ["batch", *shape[1:]])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", *into[1:]])],
        initializer=stored,
    )
    opset = 21 if stored_bits == 4 else 18  # the first with 4-bit integers
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def chain_input(chain: Chain, shape: tuple[int, ...], seed: int = 0) -> dict[str, Any]:
    """Inputs that fit `chain_file`."""
    rng = np.random.default_rng(seed)
    if isinstance(chain[0], Gather):
        return {INPUT: rng.integers(0, chain[0].num_rows, shape)}
    return {INPUT: rng.standard_normal(shape, np.float32)}


def _weight(op: Op, rng: np.random.Generator) -> Any:
    if isinstance(op, Gather):
        shape: tuple[int, ...] = (op.num_rows, op.width)
    else:
        shape = (op.num_out, op.num_in, *(() if isinstance(op, Gemm) else op.kernel))
    return (rng.standard_normal(shape) / np.sqrt(max(prod(shape[1:]), 1))).astype(np.float32)


def _float(
    op: Op, rank: int, taken: str, given: str, tag: str, rng: np.random.Generator
) -> tuple[list[Any], list[Any]]:
    from onnx import numpy_helper

    # As the exporter writes it: Gemm with the weight as it is up to two dimensions, MatMul with its transpose above.
    W = _weight(op, rng)
    weight = numpy_helper.from_array(W.T.copy() if isinstance(op, Gemm) and rank > 2 else W, f"w{tag}")
    nodes, stored = _compute(op, rank, taken, f"w{tag}", given, tag)
    return nodes, [weight, *stored]


def _integer(
    op: Op, rank: int, taken: str, given: str, tag: str, rng: np.random.Generator
) -> tuple[list[Any], list[Any]]:
    from onnx import helper, numpy_helper

    assert not isinstance(op, Gather)
    W = rng.integers(-64, 65, _weight(op, rng).shape, np.int8)
    transposed = isinstance(op, Gemm) and rank > 2
    nodes, stored = _compute(op, rank, f"d{tag}", f"w{tag}", given, tag)
    arrays: dict[str, Any] = {
        f"q{tag}": W.T.copy() if transposed else W,
        f"s{tag}": np.full(op.num_out, STEP / 64, np.float32),
        f"z{tag}": np.zeros(op.num_out, np.int8),
        f"a{tag}": np.float32(STEP),
        f"b{tag}": np.uint8(128),
    }
    quantizers = [
        helper.make_node("QuantizeLinear", [taken, f"a{tag}", f"b{tag}"], [f"u{tag}"]),
        helper.make_node("DequantizeLinear", [f"u{tag}", f"a{tag}", f"b{tag}"], [f"d{tag}"]),
        helper.make_node(
            "DequantizeLinear", [f"q{tag}", f"s{tag}", f"z{tag}"], [f"w{tag}"], axis=1 if transposed else 0
        ),
    ]
    if op.bias and not transposed:  # in the accumulator's integers, or the product is not one in integers
        arrays |= {f"e{tag}": np.zeros(op.num_out, np.int32), f"t{tag}": np.full(op.num_out, STEP * STEP / 64, "f4")}
        quantizers.append(helper.make_node("DequantizeLinear", [f"e{tag}", f"t{tag}"], [f"c{tag}"], axis=0))
        stored = []
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    return [*quantizers, *nodes], [*held, *stored]


def _stored(
    op: Op, rank: int, taken: str, given: str, tag: str, rng: np.random.Generator, num_bits: int
) -> tuple[list[Any], list[Any]]:
    from onnx import TensorProto, helper, numpy_helper

    assert not isinstance(op, Gather)
    largest = 2 ** (num_bits - 1) - 1
    W = rng.integers(-largest, largest + 1, _weight(op, rng).shape, np.int8)
    transposed = isinstance(op, Gemm)
    W = W.T.copy() if transposed else W
    kind = TensorProto.INT4 if num_bits == 4 else TensorProto.INT8
    scale = numpy_helper.from_array(np.full(op.num_out, STEP / largest, np.float32), f"s{tag}")
    nodes, stored = _compute(op, max(rank, 3), taken, f"w{tag}", given, tag)
    if rank <= 2 and nodes[-1].op_type == "Add":
        nodes[-1].op_type = "Sub"  # or ONNX Runtime makes a Gemm of it that unpacks the weight at every call
    unpack = helper.make_node("DequantizeLinear", [f"q{tag}", f"s{tag}"], [f"w{tag}"], axis=1 if transposed else 0)
    return [unpack, *nodes], [helper.make_tensor(f"q{tag}", kind, W.shape, W.flatten()), scale, *stored]


def _rows(
    op: Gather, taken: str, given: str, tag: str, rng: np.random.Generator, num_bits: int
) -> tuple[list[Any], list[Any]]:
    from onnx import TensorProto, helper, numpy_helper

    # As `paring.graph.embedding` is exported: integers gathered, two 4-bit numbers taken out of a byte, scaled by row.
    packed = num_bits == 4
    width, kind = (-(-op.width // 2), np.uint8) if packed else (op.width, np.int8)
    arrays: dict[str, Any] = {
        f"q{tag}": rng.integers(0, 127, (op.num_rows, width)).astype(kind),
        f"s{tag}": np.full((op.num_rows, 1), STEP, np.float32),
    }
    nodes = [
        helper.make_node("Gather", [f"q{tag}", taken], [f"g{tag}"]),
        helper.make_node("Cast", [f"g{tag}"], [f"n{tag}"], to=TensorProto.FLOAT),
    ]
    numbers = f"n{tag}"
    if packed:
        arrays |= {f"b{tag}": np.float32(16), f"e{tag}": np.float32(8)}
        nodes += [
            helper.make_node("Div", [numbers, f"b{tag}"], [f"d{tag}"]),
            helper.make_node("Floor", [f"d{tag}"], [f"h{tag}"]),
            helper.make_node("Mod", [numbers, f"b{tag}"], [f"l{tag}"], fmod=1),
            helper.make_node("Concat", [f"h{tag}", f"l{tag}"], [f"p{tag}"], axis=-1),
            helper.make_node("Sub", [f"p{tag}", f"e{tag}"], [f"r{tag}"]),
        ]
        numbers = f"r{tag}"
    if packed and op.width % 2:
        arrays |= {f"i{tag}": np.array([0]), f"j{tag}": np.array([op.width]), f"k{tag}": np.array([-1])}
        nodes.append(helper.make_node("Slice", [numbers, f"i{tag}", f"j{tag}", f"k{tag}"], [f"t{tag}"]))
        numbers = f"t{tag}"
    nodes += [
        helper.make_node("Gather", [f"s{tag}", taken], [f"m{tag}"]),
        helper.make_node("Mul", [numbers, f"m{tag}"], [given]),
    ]
    return nodes, [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]


def _compute(op: Op, rank: int, taken: str, weight: str, given: str, tag: str) -> tuple[list[Any], list[Any]]:
    from onnx import helper, numpy_helper

    if isinstance(op, Gather):
        return [helper.make_node("Gather", [weight, taken], [given])], []
    stored = [numpy_helper.from_array(np.zeros(op.num_out, np.float32), f"c{tag}")] if op.bias else []
    bias = [f"c{tag}"] if op.bias else []
    if isinstance(op, Gemm) and rank <= 2:
        return [helper.make_node("Gemm", [taken, weight, *bias], [given], transB=1)], stored
    if isinstance(op, Gemm):
        product = f"m{tag}" if op.bias else given
        nodes = [helper.make_node("MatMul", [taken, weight], [product])]
        return nodes + ([helper.make_node("Add", [product, *bias], [given])] if op.bias else []), stored
    conv = helper.make_node(
        "Conv",
        [taken, weight, *bias],
        [given],
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding,
        dilations=op.dilation,
    )
    return [conv], stored
