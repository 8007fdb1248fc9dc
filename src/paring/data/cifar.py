"""CIFAR-10 (Krizhevsky 2009) as JPEGs: a lossy copy for before-and-after comparisons, never to quote accuracy on."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paring.core.atomic import cache_home, whole_file
from paring.data.files import find_file
from paring.data.splits import Labelled, Splits
from paring.errors import MissingError

ARCHIVE = "cifar10-jpeg/cifar10-jpeg.tar.xz"
SHA256 = "cadfdcb5ef0cffaeccaeb0e3a37352f96e1e3affc55285a7352920bd840629c2"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the public ResNets were trained
NUM_VALIDATION = 5_000


def cifar10_jpeg(data: str | Path | None = None) -> Splits:
    """Train 45,000, validation 5,000 (a fixed draw), test 10,000: images (n, 3, 32, 32), standardized.

    Decoded once and kept as bytes in the user's cache. Raises: TaskError if the archive is nowhere, CorruptFileError,
    MissingError without Pillow.
    """
    archive = find_file(ARCHIVE, SHA256, data)
    cache = cache_home() / f"cifar10-{SHA256[:12]}.npz"
    if not cache.is_file():
        arrays = _decoded(archive)
        with whole_file(cache) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.load(cache, allow_pickle=False) as arrays:
        images, labels = _standard(arrays["train_x"]), torch.from_numpy(arrays["train_y"]).long()
        test = _standard(arrays["test_x"]), torch.from_numpy(arrays["test_y"]).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, held = order[NUM_VALIDATION:], order[:NUM_VALIDATION]
    return Splits((images[train], labels[train]), (images[held], labels[held]), test)


def flipped_and_shifted(batch: Labelled, generator: torch.Generator) -> Labelled:
    """The usual augmentation: each image mirrored at random and shifted by up to 4 pixels, zeros coming in."""
    images, labels = batch
    flip = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    rows, columns = torch.randint(0, 9, (2, len(images)), generator=generator)
    y = rows[:, None] + torch.arange(images.shape[2])
    x = columns[:, None] + torch.arange(images.shape[3])
    shifted = padded[torch.arange(len(images))[:, None, None], :, y[:, :, None], x[:, None, :]]
    return shifted.permute(0, 3, 1, 2).contiguous(), labels


def _standard(raw: np.ndarray) -> Tensor:
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (torch.from_numpy(raw).float() / 255 - mean) / std


def _decoded(archive: Path) -> dict[str, np.ndarray]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingError("cifar10-jpeg: decoding needs Pillow. pip install pillow") from error
    found: dict[str, list[tuple[np.ndarray, int]]] = {"train": [], "test": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = member.name.split("/")
            if len(parts) == 4 and (stream := tar.extractfile(member)) is not None:
                pixels = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
                found[parts[1]].append((pixels.transpose(2, 0, 1), CLASSES.index(parts[2])))
    return {
        f"{split}_{kind}": np.array([pair[i] for pair in pairs], np.uint8)
        for split, pairs in found.items()
        for i, kind in enumerate("xy")
    }
