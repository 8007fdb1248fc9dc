"""A block taken out: what enters it leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import ForwardError
from paring.graph.sites import replace, submodule


class Skip(nn.Module):
    """Answers its first float tensor, in a tuple where the block answered one. Further arguments are ignored."""

    def __init__(self, in_tuple: bool = False) -> None:
        super().__init__()
        self.in_tuple = in_tuple

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The block's own signature."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.is_floating_point():
                return (value,) if self.in_tuple else value
        raise ForwardError("a dropped block was called without a float tensor")


@final
@dataclass(frozen=True)
class DropLayer(Edit):
    """Puts a `Skip` in the place of block `layer`, under each of its names; other blocks keep theirs."""

    layer: str
    in_tuple: bool = False

    def apply(self, model: nn.Module) -> nn.Module:
        """See `Edit.apply`. Raises UnknownNameError."""
        training = submodule(model, self.layer).training
        return replace(model, self.layer, Skip(self.in_tuple).train(training))
