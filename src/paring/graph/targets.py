"""What a pass may work on: the selected layers it can treat, and the ones it must decline or refuse."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from paring.core.edit import Declined
from paring.core.recipe import Pass
from paring.errors import LayerError, NothingToDoError
from paring.graph.sites import layers_of, opaque_parent, sharers

HEAVY = (nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.RNNBase)


def targets(
    step: Pass, model: nn.Module, kinds: tuple[type[nn.Module], ...], *, shared: bool = False
) -> Iterator[tuple[str, nn.Module] | Declined]:
    """The layers of `kinds` that `step` selects, each as (name, module), or as Declined where it cannot be treated.

    A layer named outright in `include` that cannot be treated raises LayerError unless `on_unsupported="skip"`;
    one that a pattern merely covers is declined. `shared=True` accepts layers whose weight another layer holds too.
    Raises: LayerError; NothingToDoError if the patterns leave no layer of these kinds.
    """
    found = [(name, module) for name, module in layers_of(model, kinds) if step.selects(name)]
    _refuse_other_kinds(step, model, kinds)
    if not found:
        names = ", ".join(kind.__name__ for kind in kinds)
        chosen = f"include={list(step.include)}, exclude={list(step.exclude)}"
        raise NothingToDoError(f"{step.name}: {chosen} selects no {names} layer. Widen the patterns or drop the step.")
    yield from _passed_over(step, model, kinds)
    tied = {} if shared else sharers(model)
    for name, module in found:
        reason = None
        if (parent := opaque_parent(model, name)) is not None:
            reason = f"it stands inside {parent}, whose forward bypasses replaced layers"
        elif name in tied:
            reason = f"its weight is shared with {', '.join(tied[name])}"
        if reason is None:
            yield name, module
        else:
            yield step.decline(name, reason)


def _passed_over(step: Pass, model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[Declined]:
    """Layers full of weights that no pattern leaves out and that this pass does not treat, so that a report says so."""
    allowed = ", ".join(kind.__name__ for kind in kinds)
    for name, module in model.named_modules():
        if isinstance(module, HEAVY) and type(module) not in kinds and step.selects(name):
            yield Declined(name, f"it is a {type(module).__name__}, and {step.name} treats {allowed}")


def _refuse_other_kinds(step: Pass, model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    if step.on_unsupported == "skip":
        return
    named = dict(model.named_modules())
    for name in step.include:
        module = named.get(name)
        if module is not None and type(module) not in kinds and not any(True for _ in module.children()):
            allowed = ", ".join(kind.__name__ for kind in kinds)
            raise LayerError(
                f"{step.name}: {name} is a {type(module).__name__}, and this pass treats {allowed}. "
                'Take it out of include, or set on_unsupported="skip".'
            )
