"""Streams of whole numbers: every model gives the numbers back, near the code length it promises."""

from __future__ import annotations

from itertools import pairwise

import constriction
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paring.container.classes import find_classes
from paring.container.coders import encoder_of, packed, unpacked
from paring.container.counts import Counts, chunks, decode_counts, encode_counts
from paring.container.forms import MOST_SAMPLED, _plain, pack_payload, unpack_payload
from paring.container.reading import Reader, number, signed
from paring.container.shapes import fitted_shape, priors_of
from paring.container.streams import COUNTS, DIGITS, SHAPED, SMALLEST_STACKED, SPARSE, STACKED, decode, encode
from paring.container.streams import _decode_counts as decode_counts_stream
from paring.container.streams import _tried as all_streams
from paring.container.streams import _with_counts as with_counts
from paring.container.tables import chances, log_odds, logarithms, logistic
from paring.container.zipped import zipped
from paring.errors import CorruptFileError
from tests.container.files import sparse_codes

SHAPES = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(1, 9), st.integers(1, 30)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_integers_come_back(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    spread = data.draw(st.sampled_from([1, 3, 15, 127, 2000]))
    values = data.draw(arrays(np.int32, shape, elements=st.integers(-spread, spread)))
    coded = encode(values.ravel(), shape)
    assert coded is not None
    assert np.array_equal(decode(memoryview(coded.data), shape), values.ravel())


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=True)), st.booleans())
def test_any_floats_come_back(values: np.ndarray, prune: bool) -> None:
    if prune:
        values = np.where(np.abs(values) < 1, np.float32(0), values)
    packed = pack_payload(values.tobytes(), values.shape, 1)
    assert unpack_payload(memoryview(packed.data), values.nbytes, values.shape, 1) == values.tobytes()


@pytest.mark.parametrize(("dtype", "data_type", "bits"), [(np.float32, 1, 5), (np.float64, 11, 5), (np.float16, 10, 3)])
def test_floats_of_few_bits_cost_those_bits(dtype: type, data_type: int, bits: int) -> None:
    mantissa, exponent = np.frexp(np.random.default_rng(0).uniform(0.5, 2, 64))
    values = np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent).astype(dtype)
    packed = pack_payload(values.tobytes(), values.shape, data_type)
    assert packed.how == "leading bits by digits" and len(packed.data) <= 64 * (bits + 1) / 8 + 8
    for some in (values, -values, np.append(values[:-1], dtype(0)), np.append(values[1:], -values[:1])):
        packed = pack_payload(some.tobytes(), some.shape, data_type)
        assert unpack_payload(memoryview(packed.data), some.nbytes, some.shape, data_type) == some.tobytes()


@pytest.mark.parametrize("low", [-(2**31), -(2**30) - 1, 2**30 + 5, 2**31 - 40, 2**31 - 1])
@pytest.mark.parametrize("spread", [0, 1, 7])
def test_integers_at_the_ends_of_their_type_come_back(low: int, spread: int) -> None:
    values = np.minimum(low + np.arange(30, dtype=np.int64) % (spread + 1), 2**31 - 1).astype(np.int32)
    packed = pack_payload(values.tobytes(), values.shape, 6)
    assert unpack_payload(memoryview(packed.data), values.nbytes, values.shape, 6) == values.tobytes()


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
@pytest.mark.parametrize("head", [b"\x03", b"\x04\x01\0\0\0\0", b"\x06\x08\x01"])
def test_a_constant_beyond_32_bits_is_refused(value: int, head: bytes) -> None:
    data_type = 6 if head == b"\x03" else 1
    with pytest.raises(CorruptFileError):
        unpack_payload(memoryview(head + b"\0" + signed(value)), 16, (4,), data_type)


def test_a_leading_bit_beyond_the_type_is_refused() -> None:
    stream = bytes([DIGITS]) + signed(0) + number(1) + b"\x03"
    for shift, low in ((32, 0), (30, 3), (8, 2**24 - 1)):
        data = bytes([6, shift]) + number(low) + stream
        with pytest.raises(CorruptFileError):
            unpack_payload(memoryview(data), 8, (2,), 1)


def test_few_numbers_are_told_as_the_digits_of_one() -> None:
    values = np.array([-15, 15, 3, 0, -7, 8, 1, 14], np.int32)
    coded = encode(values, values.shape)
    assert coded is not None and coded.model == "digits" and len(coded.data) == 1 + 1 + 1 + 5  # 8 digits in base 31
    assert np.array_equal(decode(memoryview(coded.data), values.shape), values)
    for data in (coded.data[:-1], coded.data + b"\0", coded.data[:-1] + b"\xff"):
        with pytest.raises(CorruptFileError):
            decode(memoryview(data), values.shape)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), SHAPES, st.sampled_from([1, 2, 3, 7, 10, 22, 99]))
def test_any_bytes_decode_or_are_refused(data: bytes, shape: tuple[int, ...], data_type: int) -> None:
    size = int(np.prod(shape)) * (4 if data_type == 1 else 1)
    try:
        payload = unpack_payload(memoryview(data), size, shape, data_type)
    except CorruptFileError:
        return
    assert len(payload) == size


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([COUNTS, SPARSE, SHAPED, STACKED, DIGITS]), st.binary(max_size=80), SHAPES)
def test_any_stream_decodes_or_is_refused(kind: int, data: bytes, shape: tuple[int, ...]) -> None:
    try:
        values = decode(memoryview(bytes([kind]) + data), shape)
    except CorruptFileError:
        return
    assert values.shape == (int(np.prod(shape)),)


@pytest.mark.parametrize("kind", [COUNTS, STACKED])
@pytest.mark.parametrize("classes", [0, 8])
def test_both_coders_give_the_numbers_back_at_nearly_the_same_length(kind: int, classes: int) -> None:
    values = np.random.default_rng(1).geometric(0.4, (120, 90)).astype(np.int32) - 1
    count = int(values.max()) + 1
    found = find_classes(values, 0, count, classes) if classes else None
    coded = with_counts(values.ravel(), 0, count, 0, found, classes, kind)
    assert coded.data[0] == kind
    assert 8 * len(coded.data) < 1.005 * coded.bits + 100
    assert np.array_equal(decode(memoryview(coded.data), values.shape), values.ravel())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=90), st.floats(0.0001, 0.9), st.floats(0.0001, 0.9))
def test_what_the_range_coder_says_takes_a_byte_more_than_it_must_at_most(
    symbols: list[int], first: float, second: float
) -> None:
    chances = np.array([first, second, 0.5], np.float32) / np.float32(first + second + 0.5)
    model = constriction.stream.model.Categorical(chances, perfect=False)
    encoder = encoder_of(ans=False)
    encoder.encode(np.array(symbols, np.int32), model)
    data = packed(encoder)
    assert unpacked(memoryview(data)).decode(model, len(symbols)).tolist() == symbols
    assert not data.endswith(b"\0") and len(data) <= -np.log2(chances[symbols]).sum() / 8 * 1.001 + 1.1


def test_a_long_stream_is_sealed_in_its_last_bytes() -> None:
    """Whoever looked at all of them would take minutes here."""
    model = constriction.stream.model.Uniform(251)
    encoder, symbols = encoder_of(ans=False), np.random.default_rng(4).integers(0, 251, 400_000).astype(np.int32)
    encoder.encode(symbols, model)
    data = packed(encoder)
    assert len(data) <= 400_000 * np.log2(251) / 8 * 1.0001 + 1.1
    assert np.array_equal(unpacked(memoryview(data)).decode(model, len(symbols)), symbols)


def test_mostly_full_tensors_are_tried_on_their_first_lines() -> None:
    rng = np.random.default_rng(6)
    noise = rng.integers(-7, 8, (256, 512)).astype(np.int32)
    tiled = np.repeat(noise[:, ::8], 8, 1)
    for values, model in ((noise, "counts"), (tiled, "neighbours")):
        coded = encode(values.ravel(), values.shape)
        assert coded is not None and coded.model.startswith(model)
        assert np.array_equal(decode(memoryview(coded.data), values.shape), values.ravel())


def test_the_mask_of_many_floats_is_modelled_only_where_that_says_much_more() -> None:
    rng = np.random.default_rng(7)
    floats = rng.standard_normal((256, 256)).astype("<f4")
    by_row, scattered = rng.random((256, 1)) < 0.5, rng.random((256, 256)) < 0.5
    for mask, model in ((np.broadcast_to(by_row, floats.shape), "neighbours"), (scattered, "counts")):
        payload = np.where(mask, floats, np.float32(0)).tobytes()
        packed = pack_payload(payload, floats.shape, 1)
        assert packed.how.startswith(f"mask by {model}")
        assert unpack_payload(memoryview(packed.data), len(payload), floats.shape, 1) == payload


def test_of_a_large_payload_slices_say_how_it_zips(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    floats = rng.standard_normal(MOST_SAMPLED).astype("<f4")
    headed = floats.copy()
    headed[: MOST_SAMPLED // 4] = 0  # as long as the slices together
    odd = np.frombuffer(rng.integers(0, 256, 5000, np.uint8).tobytes() * 300, np.uint8)[: 4 * MOST_SAMPLED + 1]
    sizes: list[int] = []
    zip_of = zipped

    def noted(data: bytes, *, quick: bool) -> bytes:
        sizes.append(len(data))
        return zip_of(data, quick=quick)

    monkeypatch.setattr("paring.container.forms.zipped", noted)
    for payload in (floats, headed, odd):
        sizes.clear()
        found = {packed.how: len(packed.data) for packed in _plain(payload.view(np.uint8), 1)}
        assert sizes.count(payload.nbytes) == (2 if payload is odd else 1)
        assert min(found, key=found.__getitem__) == ("zstd" if payload is odd else "zstd of byte planes")
    packed = pack_payload(floats.tobytes(), floats.shape, 1)
    assert packed.how == "zstd of byte planes"
    assert unpack_payload(memoryview(packed.data), floats.nbytes, floats.shape, 1) == floats.tobytes()


def test_many_short_lines_are_not_coded_line_by_line() -> None:
    """A reader takes as long for a line of one number as for one of thousands."""
    values = sparse_codes(np.random.default_rng(3), 4096, 2).astype(np.int32)[:, :1]
    for shaped in (values, values.T):
        coded = encode(np.ascontiguousarray(shaped).ravel(), shaped.shape)
        assert coded is not None
        assert np.array_equal(decode(memoryview(coded.data), shaped.shape), shaped.ravel())
    head = bytes([SPARSE, 0]) + number(1) + number(4) + bytes([1, 1]) + bytes(14 + 7)
    with pytest.raises(CorruptFileError, match="impossible parameters"):
        decode(memoryview(head + b"\xff" * 40), (4096, 1))
    encoder = encoder_of(ans=False)
    for length in (4096, 64):
        encode_counts(encoder, np.ones(length, np.int32), 2, None, None)
    with pytest.raises(CorruptFileError, match="more lines than it has bytes for"):
        decode(memoryview(head + packed(encoder)), (4096, 64))


def test_large_tensors_lie_on_a_stack() -> None:
    drawn = np.random.default_rng(2).integers(-3, 4, (4, SMALLEST_STACKED // 4)).astype(np.int32)
    for values, kind in ((drawn, STACKED), (drawn[:, 1:], COUNTS)):
        coded = encode(values.ravel(), values.shape)
        assert coded is not None and coded.data[0] == kind
        assert np.array_equal(decode(memoryview(coded.data), values.shape), values.ravel())


def test_every_model_alone_gives_the_numbers_back() -> None:
    values = sparse_codes(np.random.default_rng(0), 40, 64).astype(np.int32).reshape(40, 16, 2, 2)
    tried = list(all_streams(values.ravel(), values.shape, int(values.min()), int(values.max()), 1.0))
    assert {coded.model for coded in tried} > {"counts", "counts from a shape", "neighbours"} and len(tried) >= 12
    for coded in tried:
        assert np.array_equal(decode(memoryview(coded.data), values.shape), values.ravel()), coded.model
        assert coded.bits / 8 < len(coded.data) < coded.bits / 8 * 1.001 + 3  # its kind, and what seals it


def test_neighbours_find_structure_that_counts_cannot() -> None:
    rng = np.random.default_rng(1)
    blobs = np.zeros((60, 28, 28), np.int32)
    for image in blobs:
        top, left = rng.integers(0, 20, 2)
        image[top : top + 6, left : left + 6] = rng.choice([-1, 1])
    coded = encode(blobs.ravel(), (60, 784))
    assert coded is not None and coded.model == "neighbours"
    entropy = 60 * 784 * 0.27 / 8  # 4.6 % ones at zero order
    assert len(coded.data) < entropy / 2


def test_classes_find_rows_and_columns_of_different_scale() -> None:
    rng = np.random.default_rng(2)
    scale = np.exp(rng.normal(size=(200, 1))) * np.exp(rng.normal(size=(1, 300)))
    values = np.rint(rng.normal(size=(200, 300)) * scale * 4).clip(-100, 100).astype(np.int32)
    classes = find_classes(values + 100, 100, 201, 14)
    lengths = []
    for chosen in (None, classes):
        encoder = constriction.stream.queue.RangeEncoder()
        lengths.append(encode_counts(encoder, (values + 100).ravel(), 201, 100, chosen))
    assert lengths[1] < 0.9 * lengths[0]
    correlation = np.corrcoef(classes.rows, np.log(scale[:, 0]))[0, 1]
    assert correlation > 0.8


def test_a_shape_finds_the_distribution_and_few_numbers_code_shorter_than_by_zstd() -> None:
    rng = np.random.default_rng(3)
    for drawn in (rng.normal(size=2304) * 12, rng.laplace(size=2304) * 9):
        values = np.rint(drawn).astype(np.int32)
        low, high = int(values.min()), int(values.max())
        prior = priors_of([fitted_shape(values - low, high - low + 1, -low)], high - low + 1, -low)[0]
        seen = np.bincount(values - low)
        chance, share = prior / prior.sum(), seen[seen > 0] / seen.sum()
        assert -(seen * np.log2(chance)).sum() < -(seen[seen > 0] * np.log2(share)).sum() + 0.05 * len(values)
        coded = encode(values, (16, 144))
        zipped = zstandard.ZstdCompressor(level=19).compress(values.astype(np.int8).tobytes())
        assert coded is not None and len(coded.data) < len(zipped)
    extreme = priors_of([(0, 0, 255), (255, 255, 0)], 256, 0)
    assert extreme.min() >= 1


def test_counts_are_whole_and_chunks_cover() -> None:
    counts = Counts(3, 5, 2)
    counts.add(1, np.array([0, 0, 4], np.int32))
    found = counts.chances()[1]
    assert np.array_equal(found, np.rint(found)) and (found > 0).all()
    assert found.argmax() == 0 and counts.chances()[0].argmax() == 0  # a context without counts borrows from the others
    bounds = list(chunks(300_000))
    assert bounds[0] == (0, 16) and bounds[-1][1] == 300_000
    assert all(left[1] == right[0] for left, right in pairwise(bounds))


def test_tables_hold_what_they_say() -> None:
    assert logarithms()[[0, 1, 99]].tolist() == [round(64 * np.log(n + 0.4)) for n in (0, 1, 99)]
    table = logistic()
    assert np.allclose(table, np.clip(1 / (1 + np.exp(-np.linspace(-11, 11, len(table)))), 1 / 65536, 1), atol=1e-5)
    assert table.min() > 0 and table.max() < 1
    # Farther from a tie than any library's last bit, so that every machine has the same tables.
    exact = 65536 / (1 + np.exp(-np.linspace(-11, 11, len(table))))
    assert np.abs(exact % 1 - 0.5).min() > 1e-7
    assert log_odds(np.array([3]), np.array([3])).tolist() == [0]
    assert chances(np.array([[64, 0]]), np.array([32, 5]))[0] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)


@given(st.integers(0, 2**40), st.integers(-(2**30), 2**30))
def test_numbers_come_back(value: int, other: int) -> None:
    reader = Reader(number(value) + signed(other))
    assert (reader.number(2**41), reader.signed()) == (value, other)


def test_impossible_parameters_are_refused() -> None:
    for head in (b"\x00\x00\x00", b"\x00\x05\x01", b"\x00\x05\x63", b"\x00\xff\xff\x7f\x00"):
        with pytest.raises(CorruptFileError):
            decode_counts_stream(Reader(head + b"\0" * 8), (4, 4), COUNTS)
    with pytest.raises(CorruptFileError):  # zero is none of the symbols
        decode_counts_stream(Reader(signed(3) + b"\x05\x00" + b"\0" * 8), (4, 4), SHAPED)
    with pytest.raises(CorruptFileError, match="never ends"):
        Reader(b"\xff" * 12).number()
    assert decode_counts(constriction.stream.queue.RangeDecoder(np.zeros(2, np.uint32)), 0, 2, None, None).size == 0
