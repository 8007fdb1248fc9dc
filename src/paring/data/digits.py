"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (Alpaydin and Kaynak, UCI 80)."""

from __future__ import annotations

import torch

from paring.data.splits import Splits


def digits() -> Splits:
    """Train 1,097, validation 300, test 400, shuffled with a fixed seed: images (n, 1, 8, 8) in [0, 1]."""
    from sklearn.datasets import load_digits

    table = load_digits()
    order = torch.randperm(len(table.target), generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(table.images).float()[order].unsqueeze(1) / 16
    labels = torch.from_numpy(table.target).long()[order]
    cuts = [1097, 300, 400]
    (train_x, val_x, test_x), (train_y, val_y, test_y) = torch.split(images, cuts), torch.split(labels, cuts)
    return Splits((train_x, train_y), (val_x, val_y), (test_x, test_y))
