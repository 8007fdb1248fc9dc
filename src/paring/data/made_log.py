"""A conversion log that is drawn here, for where the real ones are not: an experiment whose truth is known."""

from __future__ import annotations

import torch

from paring.data.tables import Table

ARMS = 3
NOTHING = 0  # the arm that is sent nothing
MEAN_SPEND = 20.0


def made_log(num_rows: int = 6_000, seed: int = 0) -> Table:
    """Customers in three arms drawn alike, labels `visit` (about a quarter) and `spend`; no real person is in it.

    Categories: region, device, arm; numbers: recency, history, noise. Arm 1 helps on device 0, arm 2 on device 1.
    """
    draw = torch.Generator().manual_seed(seed)
    sizes = (6, 3, ARMS)
    categories = torch.stack([torch.randint(0, size, (num_rows,), generator=draw) for size in sizes], 1)
    numbers = torch.randn(num_rows, 3, generator=draw)
    log_rate = made_log_rate(categories, numbers)
    visit = torch.bernoulli(log_rate.exp().clamp_max(0.95), generator=draw)
    spend = visit * MEAN_SPEND * (0.5 + torch.rand(num_rows, generator=draw))
    names = ("region", "device", "arm"), ("recency", "history", "noise")
    return Table(categories, numbers, sizes, {"visit": visit, "spend": spend}, *names)


def made_log_rate(categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The truth, (n,): the log of how likely each customer is to visit."""
    region, device, arm = categories.float().unbind(1)
    suited = ((arm == 1) & (device == 0)) | ((arm == 2) & (device == 1))
    return -1.7 + 0.1 * region - 0.5 * numbers[:, 0].abs() + 0.3 * numbers[:, 1].clamp(-2, 2) + 0.6 * suited.float()
