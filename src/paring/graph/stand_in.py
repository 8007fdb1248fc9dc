"""A survivor that takes over the outgoing weights of the units that go."""

from __future__ import annotations

import torch
from torch import nn

from paring.graph.groups import ChannelGroup
from paring.graph.readers import Responses, readers_of
from paring.numerics.units import stand_ins


@torch.no_grad()
def take_over_(model: nn.Module, group: ChannelGroup, kept: list[int], seen: Responses) -> None:
    """Adds to each survivor's outgoing weights those of the units it stands for, scaled as their responses are.

    What the mean of a removed unit contributed goes into the bias, where there is one.
    """
    survivor_U, factor_U = stand_ins(seen.covariance_UU, kept)
    for reader in readers_of(model, group, (nn.Linear, nn.Conv1d, nn.Conv2d)):
        if reader.layer not in seen.means:
            continue
        module = model.get_submodule(reader.layer)
        weight, bias = module._parameters["weight"], module._parameters.get("bias")
        assert weight is not None
        mean_I = seen.means[reader.layer].to(weight)
        for unit in sorted(set(range(group.width)) - set(kept)):
            own, others = reader.places[unit], reader.places[int(survivor_U[unit])]
            if len(own) != len(others):
                continue
            for gone, stays in zip(own, others, strict=True):
                factor = float(factor_U[unit])
                weight[:, stays] += factor * weight[:, gone]
                if bias is not None:
                    column_O = weight[:, gone].reshape(len(weight), -1).sum(1)
                    bias.add_(column_O * (mean_I[gone] - factor * mean_I[stays]))
