"""The task file that `paring init` writes: it runs as it is, and shows where to put one's own model."""

TEMPLATE = '''"""A Paring task: what to compress, on which data, judged how. Runs as it is:

    paring compress {name}:task --recipe recipe.yaml --out out/
"""

import torch
import torch.nn.functional as F
from torch import nn

from paring import Task, batches
from paring.measure.metrics import accuracy

# 1. Your trained model. Here: a small net on noise whose answer is a known rule, trained in a second.
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))
x = torch.randn(4000, 20)
y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()

optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for epoch in range(10):
    for inputs, target in batches(x[:3000], y[:3000], 100, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()

# 2. Your data, as batches of (inputs, target): any DataLoader or list fits. `inputs` may be a tensor, tuple or dict.
task = Task(
    name="{stem}",
    model=model.eval(),
    example_inputs=x[:2],
    train=batches(x[:3000], y[:3000], 100, shuffle=True),  # only for passes that train
    calibration=batches(x[:512], y[:512], 128),  # statistics come from here
    validation=batches(x[3000:3500], y[3000:3500], 128),  # choices are made here
    test=batches(x[3500:], y[3500:], 128),  # the headline figure comes from here, once
    loss=F.cross_entropy,
    metric=accuracy,
)
'''

RECIPE = """# Smaller by half, recovered with the original as its teacher, then integers.
passes:
  - prune.channels: {pruning_ratio: 0.5}
  - finetune: {epochs: 4, objective: {distill.response: {temperature: 2}}}
  - quantize.static
"""
