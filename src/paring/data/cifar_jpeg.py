"""CIFAR-10 (Krizhevsky 2009) as 60,000 small JPEGs in one archive. Lossy: never quote CIFAR-10 accuracy from it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paring.data.files import find_file
from paring.data.splits import Splits
from paring.errors import CorruptFileError

ARCHIVE = "cifar10-jpeg/cifar10-jpeg.tar.xz"
SHA256 = "cadfdcb5ef0cffaeccaeb0e3a37352f96e1e3affc55285a7352920bd840629c2"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NUM_VALIDATION = 5_000


def cifar_jpeg(data: str | Path | None = None) -> Splits:
    """Train 45,000, validation 5,000 (drawn with a fixed seed from the training folder), test 10,000.

    Images (n, 3, 32, 32), normalized per channel. Takes about 20 s.
    Raises: TaskError if the archive is nowhere, CorruptFileError if it is not what it should be.
    """
    pixels: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    with tarfile.open(find_file(ARCHIVE, SHA256, data)) as archive:
        for member in archive:
            parts = Path(member.name).parts
            body = archive.extractfile(member)
            if body is None or len(parts) != 4 or parts[1] not in pixels or parts[2] not in CLASSES:
                continue
            pixels[parts[1]].append(_decoded(body.read(), member.name))
            labels[parts[1]].append(CLASSES.index(parts[2]))
    train_x, train_y = _tensors(pixels["train"], labels["train"])
    order = torch.randperm(len(train_y), generator=torch.Generator().manual_seed(0))
    held, kept = order[:NUM_VALIDATION], order[NUM_VALIDATION:]
    return Splits(
        train=(train_x[kept], train_y[kept]),
        validation=(train_x[held], train_y[held]),
        test=_tensors(pixels["test"], labels["test"]),
    )


def _decoded(body: bytes, name: str) -> np.ndarray:
    from PIL import Image

    try:
        image = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
    except OSError as error:
        raise CorruptFileError(f"{ARCHIVE}: {name} is no JPEG ({error}). Fetch the archive again.") from error
    if image.shape != (32, 32, 3):
        raise CorruptFileError(f"{ARCHIVE}: {name} is {image.shape}; every image is 32 x 32 x 3.")
    return image


def _tensors(pixels: list[np.ndarray], labels: list[int]) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
    return (images - mean) / std, torch.tensor(labels)
