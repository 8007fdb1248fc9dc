"""What the pages of the guide call `make_task()`: a small net on scikit-learn's digits, trained in a second or two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from paring import Task, batches
from paring.data.digits import digits
from paring.measure.metrics import accuracy


def make_task() -> Task:
    """A net of 64-256-256-10 on the images of 8 x 8 pixels, flat."""
    torch.manual_seed(0)
    data = digits()
    (x, y), validation, test = (
        (images.flatten(1), labels) for images, labels in (data.train, data.validation, data.test)
    )
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return Task(
        model=net.eval(),
        example_inputs=x[:2],
        train=batches(x, y, 50, shuffle=True),
        calibration=batches(x[:500], y[:500], 100),
        validation=batches(*validation),
        test=batches(*test),
        loss=F.cross_entropy,
        metric=accuracy,
    )
