"""Of several plans within one budget, the one that loses least with all its options together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from torch import nn

from paring.allocate.contenders import Found, different, is_within, near
from paring.allocate.losses import Yardstick
from paring.allocate.stopwatch import Stopwatch
from paring.allocate.whole import joint
from paring.core.edit import Progress


def best_of(
    found: Sequence[Found], model: nn.Module, ruler_of: Callable[[], Yardstick], stopwatch: Stopwatch | None = None
) -> Generator[Progress, None, Found]:
    """The one of least real joint loss among those `near` the least foretold loss.

    With a `stopwatch` the first of them, by that loss, whose own time is within its limits; if none is, of those near
    the least foretold loss of the others, and so on; if none is at all, the fastest. `ruler_of` is asked only where
    there are several.
    """
    ranked, timed = different(found), list[Found]()
    while ranked:
        tried = yield from _by_loss(near(ranked), model, ruler_of)
        if stopwatch is None:
            return tried[0]
        for one in tried:
            ms = yield from stopwatch.ms(one.plan.choice)
            timed.append(replace(one, plan=replace(one.plan, ms=ms)))
            word = "within" if is_within(ms, one.limits) else "not within"
            yield Progress(len(timed), len(timed), f"plan timed: {ms:.4g} ms, {word} {one.limits.ms:.4g} ms")
            if is_within(ms, one.limits):
                return timed[-1]
        ranked = ranked[len(tried) :]
    return min(timed, key=lambda one: one.plan.ms)


def _by_loss(
    tried: list[Found], model: nn.Module, ruler_of: Callable[[], Yardstick]
) -> Generator[Progress, None, list[Found]]:
    """The least real joint loss first."""
    if len(tried) == 1:
        return tried
    ruler, losses = ruler_of(), list[float]()
    for number, one in enumerate(tried):
        yield Progress(number, len(tried), f"trying plans: foretold loss {one.plan.loss:.4g}")
        losses.append(ruler.loss(joint(model, ruler.task, one.plan.choice)))
    told = ", ".join(f"{loss:.4g} (foretold {one.plan.loss:.4g})" for one, loss in zip(tried, losses, strict=True))
    yield Progress(len(tried), len(tried), f"plans by their joint loss: {told}")
    return [tried[place] for place in sorted(range(len(tried)), key=lambda place: losses[place])]
