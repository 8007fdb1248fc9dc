"""Layers whose weight multiplies columns of inputs, in the order of the forward, and statistics of those columns."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, accepted
from paring.core.recipe import Pass
from paring.errors import LayerError
from paring.graph.capture import Sweep, unfolded
from paring.graph.masking import Site, sites
from paring.numerics.importance import NM


def column_sites(
    step: Pass, model: nn.Module, sweep: Sweep, kinds: tuple[type[nn.Module], ...], pattern: NM | None
) -> Iterator[Site | Declined]:
    """The sites of `step` in the order of the forward, behind the Declined ones: grouped or never called.

    Raises: LayerError for a layer named outright that would be declined, unless `on_unsupported="skip"`.
    """
    found: dict[str, Site] = {}
    for site in (yield from accepted(sites(step, model, kinds, pattern=pattern))):
        reason = unread(model, sweep, site.layer)
        if reason is None:
            found[site.layer] = site
        else:
            yield step.decline(site.layer, reason)
    for layer in sweep.order(list(found)):
        yield found[layer]


def unread(model: nn.Module, sweep: Sweep, layer: str) -> str | None:
    """Why the columns of this layer cannot be seen, or None."""
    module = model.get_submodule(layer)
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        return "a grouped convolution has no one set of inputs"
    return None if sweep.reaches(layer) else "the forward of the calibration data never reaches it"


def mean_squares(sweep: Sweep, layer: str, module: nn.Linear | nn.Conv2d) -> Tensor:
    """Mean square of each input column over the calibration data, (in,), float64."""
    total = torch.zeros(module.weight[0].numel(), dtype=torch.float64)
    seen = 0

    def add(x: Tensor) -> None:
        nonlocal seen
        for rows in unfolded(module, x):
            if not torch.isfinite(rows).all():
                raise LayerError("NaN or infinity")
            total.add_(rows.square().sum(0, dtype=torch.float64).cpu())
            seen += len(rows)

    sweep.inputs(layer, add)
    return total / max(seen, 1)
