"""zstd as containers use it: plain over tensors, and over heads with what graphs say again and again known before."""

from __future__ import annotations

import zstandard

from paring.container.dictionary import DICTIONARY
from paring.errors import CorruptFileError

LEVEL, MAX_LEVEL_BYTES = 19, 1 << 22  # above 4 MB level 19 would take minutes
MAX_WINDOW = 1 << 27
HEAD_LEVEL = 19
PIECE = 256  # of what is unzipped at once: each byte of it may become 32 kB


def zipped(data: bytes, *, quick: bool = False) -> bytes:
    """One zstd frame. `quick` looks for few repetitions: of floats' planes, which have none, that makes less."""
    level = 1 if quick else LEVEL if len(data) <= MAX_LEVEL_BYTES else 9
    return zstandard.ZstdCompressor(level=level, write_content_size=False).compress(data)


def unzipped(data: memoryview, size: int) -> bytes:
    """What `zipped` zipped, at most `size` + 1 bytes of it. Raises CorruptFileError."""
    try:
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(data) as stream:
            return bytes(stream.read(size + 1))
    except (zstandard.ZstdError, MemoryError) as error:
        raise CorruptFileError("a zstd stream in it does not decode") from error


def zipped_head(head: bytes) -> bytes:
    """A frame without magic, sizes and checksum, after the dictionary."""
    settings = zstandard.ZstdCompressionParameters.from_level(
        HEAD_LEVEL if len(head) <= MAX_LEVEL_BYTES else 9,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False, write_checksum=False, write_dict_id=False,
    )  # fmt: skip
    return zstandard.ZstdCompressor(compression_params=settings, dict_data=_dictionary()).compress(head)


def unzipped_head(data: memoryview, largest: int) -> bytes:
    """What `zipped_head` zipped. Raises CorruptFileError, also where it is above `largest` bytes."""
    plain = zstandard.ZstdDecompressor(
        dict_data=_dictionary(), max_window_size=MAX_WINDOW, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    stream, head = plain.decompressobj(), bytearray()
    try:
        for at in range(0, len(data), PIECE):
            if stream.eof:
                raise CorruptFileError("its head is not what it should be")
            head += stream.decompress(data[at : at + PIECE])
            if len(head) > largest:
                raise CorruptFileError(f"its head is above {largest} bytes")
    except (zstandard.ZstdError, MemoryError) as error:
        raise CorruptFileError("its head does not decode") from error
    if not stream.eof or stream.unused_data:
        raise CorruptFileError("its head is not what it should be")
    return bytes(head)


def _dictionary() -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
