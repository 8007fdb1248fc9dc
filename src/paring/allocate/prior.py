"""A cheap guess at what an option loses, before anything is measured: the curvature of the answers at its layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from paring.allocate.losses import Yardstick, first_batches
from paring.core.task import call
from paring.graph.sites import submodule

NUM_EXAMPLES = 64


@dataclass
class _Seen:
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Prior:
    """What entered each layer, what came out, and how the answers' log likelihood would change with that."""

    rows: Mapping[str, tuple[tuple[Tensor, Tensor, Tensor], ...]]

    @torch.no_grad()
    def loss(self, layer: str, other: nn.Module) -> float | None:
        """`E[(g . d)^2] / 2` for the change d that `other` makes to the layer's output; None where it does not fit.

        Second order in d. Reference: Theis et al. 2018, arXiv:1801.05787, section 3.
        """
        squares, count = 0.0, 0
        for x, y, g in self.rows.get(layer, ()):
            found = other(x)
            if found.shape != y.shape:
                return None
            per_example = ((found - y) * g).double().flatten(1).sum(1)
            squares += float(per_example.square().sum())
            count += len(per_example)
        return squares / (2 * count) if count else None


def prior_of(model: nn.Module, layers: Iterable[str], yardstick: Yardstick) -> Prior:
    """Runs and differentiates `model` over a few examples. The model is left as it is."""
    generator = torch.Generator().manual_seed(yardstick.task.seed)
    wanted = list(layers)
    rows: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in wanted}
    requires = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for inputs, _ in first_batches(yardstick.data, NUM_EXAMPLES):
        seen = {name: _Seen() for name in wanted}
        with ExitStack() as stack, torch.enable_grad():
            for parameter, _before in requires:
                parameter.requires_grad_(parameter.is_floating_point())
            for name in wanted:
                stack.callback(submodule(model, name).register_forward_hook(_recorder(seen[name])).remove)
            outputs = yardstick.task.output(call(model, inputs))
            loss = yardstick.sampled_loss(outputs, generator)
            flat = [y for one in seen.values() for y in one.outputs]
            slopes = iter(torch.autograd.grad(loss, flat, allow_unused=True))
        for name, one in seen.items():
            for x, y in zip(one.inputs, one.outputs, strict=True):
                slope = next(slopes)
                if slope is not None and len(y) == len(outputs):
                    rows[name].append((x.detach(), y.detach(), slope))
    for parameter, before in requires:
        parameter.requires_grad_(before)
    return Prior({name: tuple(found) for name, found in rows.items()})


def _recorder(seen: _Seen) -> Callable[..., None]:
    def see(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if args and isinstance(output, Tensor) and output.requires_grad:
            seen.inputs.append(args[0])
            seen.outputs.append(output)

    return see
