"""How long and how fast a training runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from paring.errors import SettingError

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Training:
    """AdamW, a linear warm-up over the share `warmup` of all steps, then `schedule` to zero.

    The gradients of `accumulation` batches make one step. With `early_stop` the training ends when the metric on
    validation has not improved for so many epochs, and the best epoch's weights stay. `validate` looks at the metric
    after every epoch. "bf16" computes under autocast where the device has instructions for it, else in fp32; the
    weights stay in fp32.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    gradient_clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulation: int = field(default=1, repr=False)
    early_stop: int | None = field(default=None, repr=False)
    validate: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulation", "early_stop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1.")
        if self.learning_rate <= 0:
            raise SettingError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if not 0 <= self.warmup < 1:
            raise SettingError(f"warmup is {self.warmup}; it must lie in [0, 1): the share of all steps.")
        if self.early_stop is not None and not self.validate:
            raise SettingError("early_stop needs validate: it watches the metric on validation.")

    def rate_at(self, step: int, num_steps: int) -> float:
        """The learning rate's factor at `step` of `num_steps`, in [0, 1]."""
        warm = int(self.warmup * num_steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        share = (step - warm) / max(1, num_steps - warm)
        if self.schedule == "constant":
            return 1.0
        return 1 - share if self.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2

    def key(self) -> str:
        """Every setting that changes what is learned, those at their defaults left out if they are new."""
        more = {"accumulation": 1, "early_stop": None}
        return repr(self) + "".join(f" {k}={getattr(self, k)}" for k, v in more.items() if getattr(self, k) != v)
