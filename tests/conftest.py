"""One thread per worker: two workers share two cores, and more threads only fight."""

import torch

torch.set_num_threads(1)
