"""How many bytes of weights a call reads, and how many numbers it gives."""

from __future__ import annotations

import pytest

from paring.clock.chain import Chain, Conv, Gather, Gemm
from paring.clock.costs import Cost, Kind

LINEAR: Chain = (Gemm(8, 4, False), Gemm(4, 8))  # 32 and 40 numbers


@pytest.mark.parametrize(("kind", "num_bytes"), [("float", 288), ("int8", 72), ("stored8", 72), ("stored4", 36)])
def test_as_many_as_its_numbers_take(kind: Kind, num_bytes: float) -> None:
    assert Cost(LINEAR, (1, 8), kind).read_bytes == num_bytes


def test_a_convolution_reads_floats_unless_its_inputs_are_integers_too() -> None:
    conv = (Conv(2, 4, (3, 3), bias=False),)
    assert [Cost(conv, (1, 2, 8, 8), kind).read_bytes for kind in ("int8", "stored4")] == [72, 288]  # type: ignore[arg-type]


def test_a_table_reads_a_few_rows() -> None:
    assert Cost((Gather(1000, 8),), (1, 4)).read_bytes == 0


def test_it_gives_what_its_last_operation_gives() -> None:
    assert Cost(LINEAR, (3, 8)).num_outputs == 3 * 8
    assert Cost((Conv(2, 4, (3, 3), (2, 2), (1, 1, 1, 1)),), (1, 2, 8, 8), "int8").num_outputs == 4 * 4 * 4
