"""The MNIST digits (LeCun, Cortes and Burges) from the four original idx files."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paring.data.files import find_file
from paring.data.splits import Splits
from paring.errors import CorruptFileError

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
NUM_VALIDATION = 5_000


def mnist(data: str | Path | None = None) -> Splits:
    """Train 55,000, validation 5,000 (the last of the training file), test 10,000: images (n, 1, 28, 28) in [0, 1].

    Raises: TaskError if the files are nowhere, CorruptFileError if one is not what it should be.
    """
    paths = [find_file(f"mnist/{name}", digest, data, MIRROR + name) for name, digest in SHA256.items()]
    train_x, train_y, test_x, test_y = (read_idx(path) for path in paths)
    images, labels = _images(train_x), torch.from_numpy(train_y).long()
    cut = len(images) - NUM_VALIDATION
    return Splits(
        train=(images[:cut], labels[:cut]),
        validation=(images[cut:], labels[cut:]),
        test=(_images(test_x), torch.from_numpy(test_y).long()),
    )


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx .gz file. Raises CorruptFileError if the header does not fit the bytes."""
    try:
        raw = gzip.decompress(path.read_bytes())
        zeros, kind, num_dims = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{num_dims}I", raw[4 : 4 + 4 * num_dims])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise CorruptFileError(f"{path}: not an idx file ({error}). Fetch it again.") from error
    body = np.frombuffer(raw[4 + 4 * num_dims :], np.uint8)
    if zeros != 0 or kind != 8 or body.size != int(np.prod(shape)):
        raise CorruptFileError(f"{path}: not an idx file of bytes (kind {kind}, shape {shape}, {body.size} bytes).")
    return body.reshape(shape).copy()


def _images(raw: np.ndarray) -> Tensor:
    return torch.from_numpy(raw).unsqueeze(1).float() / 255
