"""Data sets: found where they lie, checked, read, split."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from paring.data.batches import batches
from paring.data.digits import digits
from paring.data.files import data_folders, find_file
from paring.data.mnist import mnist, read_idx
from paring.errors import BatchError, CorruptFileError, SettingError, TaskError


def write_idx(path: Path, array: np.ndarray, *, kind: int = 8, shape: tuple[int, ...] | None = None) -> Path:
    sizes = array.shape if shape is None else shape
    head = struct.pack(">HBB", 0, kind, len(sizes)) + struct.pack(f">{len(sizes)}I", *sizes)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))
    return path


IMAGES = np.arange(24).reshape(2, 3, 4)


def test_idx_files_are_read(tmp_path: Path) -> None:
    got = read_idx(write_idx(tmp_path / "images.gz", IMAGES))
    assert got.dtype == np.uint8
    assert np.array_equal(got, IMAGES)


def test_idx_files_that_do_not_fit_their_header_are_refused(tmp_path: Path) -> None:
    for path in (
        write_idx(tmp_path / "kind.gz", IMAGES, kind=13),
        write_idx(tmp_path / "short.gz", IMAGES, shape=(3, 3, 4)),
    ):
        with pytest.raises(CorruptFileError, match=f"{path.name}: not an idx file of bytes"):
            read_idx(path)


ODD = {
    "plain": b"plain text",
    "empty": b"",
    "no header": gzip.compress(b"\0"),
    "no shape": gzip.compress(b"\0\0\x08\x03\0"),
    "cut short": gzip.compress(IMAGES.tobytes())[:-9],
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_what_is_no_idx_file_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.gz").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"odd\.gz: not an idx file") as caught:
        read_idx(tmp_path / "odd.gz")
    assert "\n" not in str(caught.value)


def test_a_file_is_found_with_or_without_its_folder_and_its_checksum_counts(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "a.gz"
    path.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    assert find_file("set/a.gz", digest, tmp_path) == path
    assert find_file("set/a.gz", digest, tmp_path / "set") == path
    with pytest.raises(CorruptFileError, match=r"a\.gz: sha256 is ed7002b439e9\.\.\., expected 000000000000"):
        find_file("set/a.gz", "0" * 64, tmp_path)


def test_missing_data_names_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARING_OFFLINE", "1")
    with pytest.raises(TaskError) as caught:
        mnist(tmp_path / "nowhere")
    assert f"not found in {tmp_path / 'nowhere'}" in str(caught.value)
    assert "Give --data DIR or set PARING_DATA" in str(caught.value)


def test_the_environment_names_the_first_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARING_DATA", str(tmp_path))
    assert data_folders()[0] == tmp_path
    assert data_folders(tmp_path / "given") == [tmp_path / "given"]


def test_batches_cover_every_row_once() -> None:
    x = torch.arange(10)
    data = batches(x, x * 2, 4)
    assert len(data) == 3
    assert [len(target) for _, target in data] == [4, 4, 2]
    assert torch.equal(torch.cat([inputs for inputs, _ in data]), x)
    shuffled = list(batches(x, x * 2, 4, shuffle=True))
    assert sorted(torch.cat([inputs for inputs, _ in shuffled]).tolist()) == x.tolist()
    assert all(torch.equal(inputs * 2, target) for inputs, target in shuffled)


def test_batches_keep_tuples_and_dicts() -> None:
    x, y = torch.arange(6), torch.zeros(6)
    ((first, second), _) = next(iter(batches((x, -x), y, 2)))
    assert (first.tolist(), second.tolist()) == ([0, 1], [0, -1])
    (named, _) = next(iter(batches({"a": x, "b": -x}, y, 2)))
    assert {name: tensor.tolist() for name, tensor in named.items()} == {"a": [0, 1], "b": [0, -1]}


def test_batches_shuffle_by_the_seed() -> None:
    data = batches(torch.arange(50), torch.arange(50), 50, shuffle=True)
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append(next(iter(data))[0].tolist())
    assert orders[0] == orders[1] != orders[2]


def test_batches_that_do_not_fit_are_refused() -> None:
    x = torch.zeros(4, 2)
    with pytest.raises(SettingError, match="batch_size is 0"):
        batches(x, torch.zeros(4), 0)
    with pytest.raises(BatchError, match=r"lengths \[3, 4\]"):
        batches(x, torch.zeros(3))
    with pytest.raises(BatchError, match=r"lengths \[0\]"):
        batches(x[:0], torch.zeros(0))


def test_digits_are_split_once_and_for_all() -> None:
    one, again = digits(), digits()
    sizes = [len(labels) for _, labels in (one.train, one.validation, one.test)]
    assert sizes == [1097, 300, 400]
    assert one.train[0].shape == (1097, 1, 8, 8)
    assert one.train[0].min() == 0 and one.train[0].max() == 1
    assert torch.equal(one.test[0], again.test[0]) and torch.equal(one.test[1], again.test[1])
    rows = torch.cat([images.flatten(1) for images, _ in (one.train, one.validation, one.test)])
    assert len(rows.unique(dim=0)) == 1797  # no image stands in two splits


def test_mnist_as_it_lies_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARING_OFFLINE", "1")
    try:
        splits = mnist()
    except TaskError as error:
        pytest.skip(f"no MNIST here: {error}")
    sizes = [len(labels) for _, labels in (splits.train, splits.validation, splits.test)]
    assert sizes == [55_000, 5_000, 10_000]
    assert splits.train[0].shape[1:] == (1, 28, 28)
    assert splits.train[0].max() == 1
    assert splits.test[1][:5].tolist() == [7, 2, 1, 0, 4]
