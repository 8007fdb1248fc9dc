"""Zeros that fit a file, shapes that do not, and what a processor lacks."""

from __future__ import annotations

import numpy as np
import pytest

from paring.engines.advice import advice
from paring.engines.inputs import fitted, free_inputs
from paring.engines.protocol import InputSpec
from paring.errors import EngineError

IDS = InputSpec("ids", (None, None), np.dtype(np.int64))
IMAGE = InputSpec("image", (None, 3, 8), np.dtype(np.float32))
TABLE = InputSpec("table", (5,), np.dtype(np.float32))
ANY = InputSpec("any", None, np.dtype(np.float32))


def test_the_first_free_dimension_is_the_batch_and_others_are_one() -> None:
    arrays = free_inputs("a.onnx", (IDS, IMAGE, TABLE), 4)
    assert {name: array.shape for name, array in arrays.items()} == {"ids": (4, 1), "image": (4, 3, 8), "table": (5,)}
    assert [array.dtype for array in arrays.values()] == [np.int64, np.float32, np.float32]
    assert not any(array.any() for array in arrays.values())


def test_given_shapes_are_taken_as_they_are_also_for_any_rank() -> None:
    arrays = free_inputs("a.onnx", (IDS, ANY), 4, {"ids": (2, 128), "any": (7,)})
    assert (arrays["ids"].shape, arrays["any"].shape) == ((2, 128), (7,))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"id": (1, 2)}, r"a\.onnx: it has no input 'id'\. Its inputs are: ids \(\?, \?\) int64; image \(\?, 3, 8\)"),
        ({"image": (1, 4, 8)}, r"input 'image' cannot be \(1, 4, 8\): the file takes \(\?, 3, 8\)"),
        ({"ids": (1,)}, r"input 'ids' cannot be \(1\): the file takes \(\?, \?\)"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(EngineError, match=words):
        free_inputs("a.onnx", (IDS, IMAGE), 1, shapes)


def test_an_input_of_unknown_rank_needs_a_shape() -> None:
    with pytest.raises(EngineError, match=r"input 'any' has no known rank; give its shape \(--shape NAME=1x128\)"):
        free_inputs("a.onnx", (ANY,))


def test_given_arrays_come_in_the_file_s_order_and_types() -> None:
    given = {"image": np.ones((2, 8, 3)).transpose(0, 2, 1), "ids": np.ones((2, 4), np.int32)}
    fitting = fitted("a.onnx", (IDS, IMAGE), given)
    assert list(fitting) == ["ids", "image"]
    assert [array.dtype for array in fitting.values()] == [np.int64, np.float32]
    assert all(array.flags.c_contiguous for array in fitting.values())


XEON = frozenset({"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"})
ZEN = frozenset({"avx2", "fma"})


@pytest.mark.parametrize(
    ("flags", "vnni", "usable", "starts"),
    [
        (XEON, True, 8, ["AMX: bf16 and int8"]),
        (XEON - {"amx_int8", "amx_bf16"}, True, 8, []),
        (ZEN, False, 8, ["No VNNI: u8 x s8", "No bf16", "No AVX-512"]),
        (frozenset({"asimd", "bf16"}), True, 8, []),
        (frozenset({"asimd"}), True, 2, ["No bf16", "This process may use 2 of 8 cores"]),
    ],
)
def test_advice_names_what_is_missing_most_important_first(
    flags: frozenset[str], vnni: bool, usable: int, starts: list[str]
) -> None:
    lines = advice(flags, vnni=vnni, cores=8, usable=usable)
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_without_vnni_it_says_what_to_do() -> None:
    assert "quantize.static weight_range: half" in advice(ZEN, vnni=False, cores=1, usable=1)[0]
