"""Of several plans within one budget, the one that loses least with all its options together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from torch import nn

from paring.allocate.contenders import Found, different, near
from paring.allocate.losses import Yardstick
from paring.allocate.whole import joint
from paring.core.edit import Progress


def best_of(
    found: Sequence[Found], model: nn.Module, ruler_of: Callable[[], Yardstick]
) -> Generator[Progress, None, Found]:
    """The one of least real joint loss among those `near` the least foretold loss.

    `ruler_of` is asked only where there are several.
    """
    tried = near(different(found))
    if len(tried) == 1:
        return tried[0]
    ruler, losses = ruler_of(), list[float]()
    for number, one in enumerate(tried):
        yield Progress(number, len(tried), f"trying plans: foretold loss {one.plan.loss:.4g}")
        losses.append(ruler.loss(joint(model, ruler.task, one.plan.choice)))
    told = ", ".join(f"{loss:.4g} (foretold {one.plan.loss:.4g})" for one, loss in zip(tried, losses, strict=True))
    yield Progress(len(tried), len(tried), f"plans by their joint loss: {told}")
    return tried[losses.index(min(losses))]
