"""The small files that the clock times: they run, and compute what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from paring.clock.chain import Chain, Conv, Gather, Gemm
from paring.clock.file import INPUT, chain_file, chain_input
from paring.core.target import Target
from paring.engines import installed_engines, open_session

CHAINS: list[tuple[Chain, tuple[int, ...]]] = [
    ((Gemm(16, 4, False), Gemm(4, 8)), (3, 16)),
    ((Gemm(16, 4, False), Gemm(4, 8)), (2, 5, 16)),
    ((Conv(4, 2, (1, 1), bias=False), Conv(2, 8, (3, 3), (2, 2), (1, 1, 1, 1))), (2, 4, 9, 9)),
    ((Gather(30, 4), Gemm(4, 8, False)), (2, 5)),
]  # fmt: skip
ENGINES = [engine for engine in installed_engines() if engine != "torch"]


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("chain", "shape"), CHAINS)
def test_runs_and_gives_the_chains_shape(
    chain: Chain, shape: tuple[int, ...], engine: str, int8: bool, tmp_path: Path
) -> None:
    path = tmp_path / "chain.onnx"
    path.write_bytes(chain_file(chain, shape, int8=int8))
    [y] = open_session(path, Target(engine)).run(chain_input(chain, shape))  # type: ignore[arg-type]
    for op in chain:
        shape = op.output_shape(shape)
    assert y.shape == shape and np.isfinite(y).all() and y.any()


def test_the_same_seed_gives_the_same_bytes() -> None:
    chain, shape = CHAINS[0]
    assert chain_file(chain, shape) == chain_file(chain, shape)
    assert chain_file(chain, shape) != chain_file(chain, shape, seed=1)


def test_int8_has_integer_weights_around_every_product() -> None:
    chain, shape = CHAINS[1]
    graph = onnx.load_from_string(chain_file(chain, shape, int8=True)).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QuantizeLinear") == 2 and kinds.count("DequantizeLinear") == 4 and kinds.count("MatMul") == 2
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert stored["q0"] == stored["q1"] == onnx.TensorProto.INT8


def test_inputs_of_a_table_are_rows_it_has() -> None:
    x = chain_input((Gather(30, 4),), (100,))[INPUT]
    assert x.min() >= 0 and x.max() < 30
