"""Containers come back bit for bit, or are refused in one line."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from paring.container.file import MAGIC, PLAIN_HEAD, VERSION, ZIPPED_HEAD, is_container, pack, unpack
from paring.container.reading import LONG, Reader, number, section
from paring.container.size import file_size
from paring.container.zipped import zipped_head
from paring.errors import CorruptFileError, ExportError, ParingError
from tests.container.files import hostile, sparse_codes, weights, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx", weights())


def test_every_kind_of_weight_comes_back_bit_for_bit(model: Path, tmp_path: Path) -> None:
    packed = pack(model, tmp_path / "model.paring")
    assert unpack(tmp_path / "model.paring", tmp_path / "back.onnx") == packed.file_bytes
    assert (tmp_path / "back.onnx").read_bytes() == model.read_bytes()
    assert packed.coded_bytes == (tmp_path / "model.paring").stat().st_size < packed.file_bytes
    how = {tensor.name: tensor.how for tensor in packed.tensors}
    assert how["shared"].startswith("palette") and how["pruned"].startswith("mask")
    assert how["dense"].startswith("integers by counts") and "nibbles" in how
    assert "short" not in how  # a scalar stays in the skeleton


def test_a_real_export_comes_back_and_runs(tmp_path: Path) -> None:
    import paring
    from paring.artifacts.onnx import write_onnx
    from tests.nets import image_task

    task = image_task()
    write_onnx(task.model, task, tmp_path / "model.onnx")
    pack(tmp_path / "model.onnx", tmp_path / "model.paring")
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    expected = paring.load(tmp_path / "model.onnx").run({"inputs": x})[0]
    assert np.array_equal(paring.load(tmp_path / "model.paring").run({"inputs": x})[0], expected)
    assert np.array_equal(paring.load(tmp_path).run({"inputs": x})[0], expected)


def test_the_same_file_gives_the_same_container(model: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_small_tensors_too_take_little_beyond_their_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    arrays = {str(rows): np.rint(rng.laplace(size=(rows, 144)) * 1.5).astype(np.int8) for rows in (12, 16, 24, 32)}
    write_model(tmp_path / "model.onnx", arrays, int4=False)
    tensors = pack(tmp_path / "model.onnx", tmp_path / "model.paring").tensors
    assert {tensor.name for tensor in tensors if tensor.coded_bytes > 350} == set(arrays)
    for tensor in tensors:
        assert tensor.bits / 8 < tensor.coded_bytes <= 1.02 * tensor.bits / 8, tensor


@pytest.mark.parametrize(("size", "checksum"), [(0, 2), (LONG - 1, 2), (LONG, 4), (3 * LONG, 4)])
def test_short_sections_have_short_checksums(size: int, checksum: int) -> None:
    body = np.random.default_rng(size).bytes(size)
    written = section(body)
    assert len(written) == len(number(size)) + checksum + size
    assert bytes(Reader(written).section()) == body
    for place in range(len(number(size)), len(written), max(1, size // 7)):
        damaged = written[:place] + bytes([written[place] ^ 16]) + written[place + 1 :]
        with pytest.raises(CorruptFileError, match="checksum"):
            Reader(damaged).section()


def refusal(container: Path, out: Path) -> str:
    try:
        unpack(container, out)
    except CorruptFileError as error:
        return str(error)
    return ""


def test_a_container_of_another_version_is_named(model: Path, tmp_path: Path) -> None:
    pack(model, tmp_path / "model.paring")
    data = (tmp_path / "model.paring").read_bytes()
    for version in (1, VERSION + 1):
        (tmp_path / "other.paring").write_bytes(MAGIC + bytes([version]) + data[len(MAGIC) + 1 :])
        message = refusal(tmp_path / "other.paring", tmp_path / "out.onnx")
        assert f"of version {version}, and this Paring reads version {VERSION}" in message


def test_hostile_containers_are_refused(model: Path, tmp_path: Path) -> None:
    container = tmp_path / "model.paring"
    pack(model, container)
    whole, original = container.read_bytes(), model.read_bytes()
    bad, out = tmp_path / "bad.paring", tmp_path / "out.onnx"
    refused = 0
    for data in hostile(whole, np.random.default_rng(1), 400):
        bad.write_bytes(data)
        if message := refusal(bad, out):
            refused += 1
            assert "\n" not in message and str(bad) in message and not out.exists()
        else:  # damage that changes nothing, or nothing that matters
            assert out.read_bytes() == original
            out.unlink()
    assert refused > 300


def container_of(facts: dict[str, object], skeleton: bytes, *bodies: bytes) -> bytes:
    head = bytes([ZIPPED_HEAD]) + zipped_head(json.dumps(facts).encode() + b"\n" + skeleton)
    return MAGIC + bytes([VERSION]) + section(head) + b"".join(map(section, bodies))


def head_of(container: Path) -> bytes:
    return bytes(Reader(container.read_bytes()[len(MAGIC) + 1 :]).section())


def test_heads_are_zipped_and_never_beyond_what_a_reader_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "model.onnx", {f"layer.{i}.weight": weights()["dense"] for i in range(40)})
    pack(model, tmp_path / "model.paring")
    assert head_of(tmp_path / "model.paring")[0] == ZIPPED_HEAD
    unpack(tmp_path / "model.paring", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == model.read_bytes()
    monkeypatch.setattr("paring.container.file.MAX_HEAD", 1000)
    assert "head is above 1000 bytes" in refusal(tmp_path / "model.paring", tmp_path / "out.onnx")


SOUND = zipped_head(b'{"bytes": 1, "digest": "0"}\n')


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x00\x58",
        b"\xff" * 40,
        zipped_head(b"no JSON"),
        SOUND[:-1],
        SOUND + b"\0",
        SOUND + SOUND,
        zipped_head(b"[" + b"[]," * 2_000_000),  # would take a gigabyte to read as JSON
        zipped_head(bytes(200_000_000)),
    ],
    ids=range(9),
)
def test_heads_that_hold_nothing_are_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "bad.paring"
    path.write_bytes(MAGIC + bytes([VERSION]) + section(bytes([ZIPPED_HEAD]) + head))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "head" in refusal(path, tmp_path / "out.onnx")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_graph_of_more_weights_than_sections_is_refused(tmp_path: Path) -> None:
    skeleton = b"\x3a" + number(20 * 5000) + b"\x2a\x12\x4a\x10" * 5000  # 5,000 holes of 16 bytes, and no sections
    path = tmp_path / "bad.paring"
    path.write_bytes(container_of({"bytes": len(skeleton) + 16 * 5000, "digest": "0" * 16}, skeleton))
    assert "more weights than there is room for" in refusal(path, tmp_path / "out.onnx")


def test_a_head_that_zstd_shrinks_too_far_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paring.container.file.FREE_HEAD", 0)
    monkeypatch.setattr("paring.container.file.MAX_HEAD_EXPANSION", 2)
    model = write_model(tmp_path / "model.onnx", {f"layer.{i}.weight": weights()["dense"] for i in range(40)})
    pack(model, tmp_path / "model.paring")
    assert head_of(tmp_path / "model.paring")[0] == PLAIN_HEAD
    unpack(tmp_path / "model.paring", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == model.read_bytes()


def skeleton_of(dims: tuple[int, ...], size: int) -> bytes:
    """A model of one int8 initializer whose payload is cut out."""
    tensor = b"".join(b"\x08" + number(dim) for dim in dims) + b"\x10\x03" + b"\x4a" + number(size)
    length = len(tensor) + size
    initializer = b"\x2a" + number(length) + tensor
    return b"\x3a" + number(len(initializer) + size) + initializer


@pytest.mark.parametrize(
    ("dims", "size", "body"),
    [
        ((1 << 15, 1 << 15), 1 << 30, b"\x03\x00\x00"),  # a gigabyte of zeros from a hundred bytes
        ((1 << 40, 1 << 40), 64, b"\x03\x00\x00"),
        ((0, 5), 64, b"\x03\x00\x00"),
        ((8, 8), 64, b"\x01" + b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff" + b"\0" * 20),  # zstd that promises 4 GB
        ((8, 8), 64, b"\x03\x01\x00\xff\xff\x03\x00"),
        ((8, 8), 64, b"\x03\x02\x00\x0f\x01" + b"\x7f" * 40),
        ((8, 8), 64, b"\x04\x00\x00\x00"),
        ((8, 8), 64, b"\x05\x02\x00\x00\x05"),
        ((8, 8), 64, b""),
        ((8, 8), 64, b"\x09"),
    ],
)
def test_promises_that_cannot_hold_are_refused_at_once(
    tmp_path: Path, dims: tuple[int, ...], size: int, body: bytes
) -> None:
    skeleton = skeleton_of(dims, size)
    path = tmp_path / "bad.paring"
    path.write_bytes(container_of({"bytes": len(skeleton) + size, "digest": "0" * 16}, skeleton, body))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(CorruptFileError):
        unpack(path, tmp_path / "out.onnx")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    assert time.process_time() - began < 60  # no hang
    assert not (tmp_path / "out.onnx").exists()


def test_a_sound_container_made_by_hand_unpacks(tmp_path: Path) -> None:
    import hashlib

    skeleton = skeleton_of((8, 8), 64)
    whole = skeleton + b"\x02" * 64
    digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
    (tmp_path / "made.paring").write_bytes(
        container_of({"bytes": len(whole), "digest": digest}, skeleton, b"\x03\x00\x04")
    )
    unpack(tmp_path / "made.paring", tmp_path / "made.onnx")
    assert (tmp_path / "made.onnx").read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x3a\x7f\x00", b"\xff" * 40, b"PARING\x02abc"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="thing"):
        pack(path, tmp_path / "out.paring")
    with pytest.raises(CorruptFileError, match="thing"):
        unpack(path, tmp_path / "out.onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"thing"}


def test_missing_files_and_unwritable_places(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"gone\.onnx"):
        pack(tmp_path / "gone.onnx", tmp_path / "out.paring")
    with pytest.raises(ExportError):
        pack(model, model / "inside.paring")
    assert not is_container(model) and not is_container(tmp_path / "gone")


def test_weights_that_hold_nothing_are_no_bomb(tmp_path: Path) -> None:
    write_model(tmp_path / "zeros.onnx", {"w": np.zeros((6000, 6000), np.int8)}, int4=False)
    with pytest.raises(ParingError, match="hold nothing"):
        pack(tmp_path / "zeros.onnx", tmp_path / "zeros.paring")
    assert not (tmp_path / "zeros.paring").exists()


def test_size_of_both_forms_agrees_and_coding_beats_zstd(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    dense = np.rint(rng.normal(size=(64, 200)) * 6).astype(np.int8)
    model = write_model(tmp_path / "m.onnx", {"sparse": sparse_codes(rng, 100, 196), "dense": dense}, int4=False)
    pack(model, tmp_path / "m.paring")
    found = file_size(model)
    assert found == file_size(tmp_path / "m.paring")
    assert found.coded_bytes == (tmp_path / "m.paring").stat().st_size
    for tensor in found.tensors:
        assert tensor.coded_bytes < tensor.zstd_bytes and tensor.coded_bytes < tensor.gzip_bytes
        assert tensor.coded_bytes <= 1.02 * tensor.model_bits / 8 + 40
    sparse, dense_size = found.tensors
    assert sparse.coded_bytes < 0.95 * sparse.entropy_bits / 8  # rows and columns of different density
    assert dense_size.floor_bits is not None and 0 < dense_size.floor_bits < dense_size.entropy_bits
    assert dense_size.entropy_bits - dense_size.floor_bits == pytest.approx(0.254 * dense_size.count, rel=0.1)
