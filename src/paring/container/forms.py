"""What a payload of raw bytes is seen as before coding: numbers, a palette, a mask with the rest, or just bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from paring.container.counts import Ints
from paring.container.reading import Reader, number, product
from paring.container.streams import MAX_SYMBOLS, Coded, decode, encode
from paring.container.zipped import unzipped, zipped
from paring.errors import CorruptFileError

RAW, ZSTD, PLANES, INTEGERS, PALETTE, MASKED, LEADING = range(7)
NAMES = ("raw", "zstd", "zstd of byte planes", "integers", "palette", "mask", "leading bits")
# ONNX data type -> NumPy's; half precisions only as their bits, four-bit types apart.
TYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "u1", 10: "<f2", 11: "<f8", 12: "<u4",
         13: "<u8", 16: "<u2"}  # fmt: skip
UINT4, INT4 = 21, 22
SAMPLE = 1 << 16
LEAST_SAMPLED, MOST_SAMPLED = 1 << 16, 1 << 18  # bytes of a payload four times as large or larger, an eighth of it
NUM_SLICES = 8  # in which they lie: they say how it zips
CLEARLY = 1.005
WORTH_MASKING = 0.2
WORTH_MODELLING = 0.9  # of a mask by counts: it is little beside the floats that it leaves
WORTH_SHIFTING = 8  # bits that are zero in every number
FEW = 64

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Packed:
    """A payload as it stands in the container; `bits` is its code length under its own model."""

    data: bytes
    how: str
    bits: float


def pack_payload(payload: memoryview | bytes, dims: Sequence[int], data_type: int) -> Packed:
    """The shortest form of one tensor's bytes that was tried: of large ones a sample says what is not worth it."""
    raw = np.frombuffer(payload, np.uint8)
    tried = list(_plain(raw, data_type))
    if raw.size and _fits(len(raw), dims, data_type):
        tried += _numbers(raw, dims, data_type)
    return min(tried, key=lambda packed: len(packed.data))


def unpack_payload(data: memoryview, size: int, dims: Sequence[int], data_type: int) -> bytes:
    """The `size` bytes that `pack_payload` packed. Raises CorruptFileError."""
    reader = Reader(data)
    form = reader.byte()
    if form == RAW:
        payload = bytes(reader.rest())
    elif form == ZSTD:
        payload = unzipped(reader.rest(), size)
    elif form == PLANES:
        width = itemsize(data_type)
        planes = np.frombuffer(unzipped(reader.rest(), size), np.uint8)
        if size % width or len(planes) != size:
            raise CorruptFileError("a tensor in it does not have the length it says")
        payload = np.ascontiguousarray(planes.reshape(width, -1).T).tobytes()
    elif form in (INTEGERS, PALETTE, MASKED, LEADING):
        if not _fits(size, dims, data_type):
            raise CorruptFileError("a tensor in it does not have the shape it says")
        unpack = {INTEGERS: _integers, PALETTE: _palette, MASKED: _masked, LEADING: _led}[form]
        payload = unpack(reader, dims, data_type).tobytes()
    else:
        raise CorruptFileError(f"it holds a tensor of form {form}, which this version does not know")
    if len(payload) != size:
        raise CorruptFileError("a tensor in it does not have the length it says")
    return payload


def itemsize(data_type: int) -> int:
    """Bytes of one number; 1 for what is no known type."""
    return np.dtype(TYPES.get(data_type, "u1")).itemsize


def numbers_of(payload: memoryview | bytes, dims: Sequence[int], data_type: int) -> Ints | None:
    """The payload's whole numbers, flattened; None for floats and for 64-bit types."""
    if data_type in (UINT4, INT4):
        packed = np.frombuffer(payload, np.uint8)
        nibbles = np.stack((packed & 15, packed >> 4), 1).ravel()[: product(dims)].astype(np.int32)
        return nibbles if data_type == UINT4 else (nibbles ^ 8) - 8
    dtype = np.dtype(TYPES.get(data_type, "<f4"))
    if dtype.kind not in "iu" or dtype.itemsize > 4 or data_type in (12, 16):
        return None
    return np.frombuffer(payload, dtype).astype(np.int32)


def _plain(raw: Bytes, data_type: int) -> list[Packed]:
    found = [Packed(bytes([RAW]) + raw.tobytes(), NAMES[RAW], 8.0 * len(raw))]
    for form, quick in _worth_zipping(raw, data_type):
        source = _seen_as(form, raw, data_type)
        if source is not None:
            data = zipped(source.tobytes(), quick=quick)
            found.append(Packed(bytes([form]) + data, NAMES[form], 8.0 * len(data)))
    return found


def _worth_zipping(raw: Bytes, data_type: int) -> tuple[tuple[int, bool], ...]:
    """Each form, looking for many repetitions or for few; of a large payload what is clearly shorter for slices."""
    ways = tuple((form, quick) for form in (ZSTD, PLANES) for quick in (False, True))
    width = itemsize(data_type)
    if len(raw) < 4 * LEAST_SAMPLED or len(raw) % width:
        return ways
    size = min(max(LEAST_SAMPLED, len(raw) // 8), MOST_SAMPLED) // NUM_SLICES // width * width
    begins = [place * len(raw) // NUM_SLICES // width * width for place in range(NUM_SLICES)]
    some = np.concatenate([raw[begin : begin + size] for begin in begins])
    sizes = {
        (form, quick): len(zipped(source.tobytes(), quick=quick))
        for form, quick in ways
        if (source := _seen_as(form, some, data_type)) is not None
    }
    return tuple(way for way in sizes if sizes[way] <= CLEARLY * min(sizes.values()))


def _seen_as(form: int, raw: Bytes, data_type: int) -> Bytes | None:
    return raw if form == ZSTD else _planes(raw, itemsize(data_type))


def _numbers(raw: Bytes, dims: Sequence[int], data_type: int) -> Iterator[Packed]:
    numbers = numbers_of(raw.tobytes(), dims, data_type)
    if numbers is not None:
        coded = encode(numbers, dims) if _exact(numbers, raw, data_type) else None
        if coded is not None:
            yield _as(INTEGERS, b"", coded)
        return
    width = itemsize(data_type)
    bits = raw.view(f"<u{width}")
    palette = _values(bits)
    if palette is not None:
        coded = encode(_places(bits, palette, data_type), dims)
        assert coded is not None
        yield _as(PALETTE, number(len(palette)) + palette.tobytes(), coded)
    yield from _leading(bits, dims)
    zeros = bits == 0
    if WORTH_MASKING < zeros.mean() < 1 and (palette is None or len(palette) > FEW):
        coded = encode((~zeros).astype(np.int32), dims, worth=WORTH_MODELLING)
        assert coded is not None
        rest = min(_plain(bits[~zeros].view(np.uint8), data_type), key=lambda packed: len(packed.data))
        yield Packed(
            bytes([MASKED]) + number(len(coded.data)) + coded.data + rest.data,
            f"mask by {coded.model}, {rest.how}",
            coded.bits + rest.bits,
        )


def _leading(bits: NDArray[np.generic], dims: Sequence[int]) -> Iterator[Packed]:
    """Floats that hold nothing behind their first bits: those are whole numbers, close together for close sizes."""
    used = int(np.bitwise_or.reduce(bits))
    shift = (used & -used).bit_length() - 1 if used else 0
    if shift < WORTH_SHIFTING:
        return
    low = int(bits.min()) >> shift
    if (int(bits.max()) >> shift) - low < MAX_SYMBOLS:
        coded = encode(((bits >> np.asarray(shift, bits.dtype)).astype(np.int64) - low).astype(np.int32), dims)
        assert coded is not None
        yield _as(LEADING, bytes([shift]) + number(low), coded)


def _as(form: int, head: bytes, coded: Coded) -> Packed:
    return Packed(bytes([form]) + head + coded.data, f"{NAMES[form]} by {coded.model}", coded.bits + 8 * len(head))


def _exact(numbers: Ints, raw: Bytes, data_type: int) -> bool:
    """Whether the numbers say all that the bytes say (a spare nibble might hold something)."""
    return _bytes_of(numbers, data_type).tobytes() == raw.tobytes()


def _bytes_of(numbers: Ints, data_type: int) -> NDArray[np.generic]:
    if data_type in (UINT4, INT4):
        nibbles = np.append(numbers & 15, np.zeros(len(numbers) % 2, np.int32)).astype(np.uint8)
        return np.asarray(nibbles[0::2] | (nibbles[1::2] << 4))
    return cast(NDArray[np.generic], numbers.astype(TYPES[data_type]))


def _values(bits: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """The distinct values if there are few, else None."""
    if len(np.unique(bits[:SAMPLE])) > MAX_SYMBOLS:
        return None
    values = np.unique(bits)
    return values if len(values) <= min(MAX_SYMBOLS, len(bits) // 2) else None


def _places(bits: NDArray[np.generic], palette: NDArray[np.generic], data_type: int) -> Ints:
    """For each value its place in the palette by size, counted from the place of zero. Sorts `palette` in place."""
    index = np.searchsorted(palette, bits)
    order = np.lexsort((palette, palette.view(TYPES[data_type])))
    palette[:] = palette[order]
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return np.asarray(place[index] - _origin(palette), np.int32)


def _origin(palette: NDArray[np.generic]) -> int:
    zero = np.flatnonzero(palette == 0)
    return int(zero[0]) if len(zero) else len(palette) // 2


def _integers(reader: Reader, dims: Sequence[int], data_type: int) -> NDArray[np.generic]:
    numbers = decode(reader.rest(), dims)
    if data_type in (UINT4, INT4):
        low, high = (0, 15) if data_type == UINT4 else (-8, 7)
    else:
        if data_type not in TYPES or np.dtype(TYPES[data_type]).kind not in "iu":
            raise CorruptFileError("a tensor in it is coded as integers and holds none")
        info = np.iinfo(TYPES[data_type])
        low, high = info.min, info.max
    if numbers.size and (numbers.min() < low or numbers.max() > high):
        raise CorruptFileError("a tensor in it holds numbers beyond its type")
    return _bytes_of(numbers, data_type)


def _palette(reader: Reader, dims: Sequence[int], data_type: int) -> NDArray[np.generic]:
    width = itemsize(data_type)
    palette = np.frombuffer(reader.take(reader.number(MAX_SYMBOLS) * width), f"<u{width}")
    places = decode(reader.rest(), dims) + np.int32(_origin(palette))
    if not len(palette) or (places.size and (places.min() < 0 or places.max() >= len(palette))):
        raise CorruptFileError("a tensor in it points outside its palette")
    return cast(NDArray[np.generic], palette[places])


def _led(reader: Reader, dims: Sequence[int], data_type: int) -> NDArray[np.generic]:
    width = itemsize(data_type)
    shift, low = reader.byte(), reader.number(2 ** (8 * width) - 1)
    numbers = decode(reader.rest(), dims)
    if shift >= 8 * width or (
        numbers.size and (numbers.min() < 0 or int(numbers.max()) + low >= 2 ** (8 * width - shift))
    ):
        raise CorruptFileError("a tensor in it holds numbers beyond its type")
    return cast(
        NDArray[np.generic],
        (numbers.astype(f"<u{width}") + np.asarray(low, f"<u{width}")) << np.asarray(shift, f"<u{width}"),
    )


def _masked(reader: Reader, dims: Sequence[int], data_type: int) -> NDArray[np.generic]:
    width = itemsize(data_type)
    mask = decode(reader.take(reader.number()), dims)
    if mask.size and (mask.min() < 0 or mask.max() > 1):
        raise CorruptFileError("a mask in it holds more than zeros and ones")
    rest = reader.rest()
    if not len(rest) or rest[0] > PLANES:
        raise CorruptFileError("a mask in it hides what it should not")
    filled = np.zeros(len(mask), f"<u{width}")
    count = int(mask.sum())
    filled[mask.astype(bool)] = np.frombuffer(unpack_payload(rest, count * width, [count], data_type), filled.dtype)
    return filled


def _fits(size: int, dims: Sequence[int], data_type: int) -> bool:
    count = product(dims)
    if data_type in (UINT4, INT4):
        return count > 0 and size == -(-count // 2)
    return data_type in TYPES and count > 0 and size == count * itemsize(data_type)


def _planes(raw: Bytes, width: int) -> Bytes | None:
    if width == 1 or len(raw) % width:
        return None
    return np.ascontiguousarray(raw.reshape(-1, width).T).ravel()
