"""The table: measured once, then read; refused when it is not one."""

from __future__ import annotations

import pytest

from paring.clock import table
from paring.clock.chain import Chain, Gemm
from paring.clock.table import Timing, key, store, table_path, timings
from paring.core.measurement import Ratio
from paring.core.target import Target
from paring.errors import CorruptFileError, EngineError

DENSE: Chain = (Gemm(64, 64),)
THIN: Chain = (Gemm(64, 8, False), Gemm(8, 64))
SHAPE = (4, 64)
PLANTED = Timing(0.5, 1.0, Ratio(2.0, 1.9, 2.1), "faster")


def test_a_planted_timing_is_read_and_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "interleave", None)
    target = Target()
    store(table_path(target), {key(DENSE, THIN, SHAPE, target): PLANTED})
    assert timings(DENSE, [THIN, THIN], SHAPE, target) == {THIN: PLANTED}


def test_what_is_missing_is_measured_once() -> None:
    target = Target()
    store(table_path(target), {key(DENSE, THIN, SHAPE, target): PLANTED})
    other: Chain = (Gemm(64, 4, False), Gemm(4, 64))
    first = timings(DENSE, [THIN, other], SHAPE, target)
    assert first[THIN] == PLANTED
    assert first[other].dense_ms > 0 and first[other].option_ms > 0 and first[other].speedup.ratio > 0
    assert timings(DENSE, [THIN, other], SHAPE, target) == first


def test_everything_that_matters_is_in_the_key() -> None:
    target = Target()
    keys = {
        key(DENSE, THIN, SHAPE, target),
        key(DENSE, THIN, SHAPE, target, int8=True),
        key(DENSE, THIN, (8, 64), target),
        key(DENSE, THIN, SHAPE, Target(threads=2)),
        key(DENSE, THIN, SHAPE, Target(engine="openvino")),
        key(DENSE, THIN, SHAPE, Target(engine="openvino", precision="bf16")),
        key(THIN, THIN, SHAPE, target),
    }
    assert len(keys) == 7


def test_a_broken_table_is_one_clear_error() -> None:
    path = table_path(Target())
    path.parent.mkdir(parents=True)
    path.write_text('{"a": {"option_ms": 1}}')
    with pytest.raises(CorruptFileError, match="Remove it to measure anew"):
        timings(DENSE, [THIN], SHAPE, Target())


def test_a_precision_that_is_not_there_is_refused() -> None:
    with pytest.raises(EngineError, match="fp32"):
        timings(DENSE, [THIN], SHAPE, Target(precision="bf16"))
