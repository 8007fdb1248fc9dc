"""Random residual, concatenating, depthwise and grouped graphs: sliced nets equal their masked twins and replay."""

from __future__ import annotations

import copy
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import relu

from paring.core.edit import Edit
from paring.core.task import call
from paring.graph.edits.slice import SliceChannels
from paring.graph.groups import channel_groups
from paring.graph.state import meta_copy, put_state, take_state
from paring.prune.channels import Channels
from tests.graph.coupled_nets import answer, silence_, unequal
from tests.prune.test_channels import run, size

OPS = ("conv", "residual", "concat", "depthwise", "grouped", "project", "norm")


class RandomNet(nn.Module):
    """A stem, then the blocks `ops` asks for, each reading the last one's output, and a flattened or pooled head."""

    def __init__(self, ops: list[tuple[str, int]], flatten: bool) -> None:
        super().__init__()
        self.ops, self.flatten = ops, flatten
        self.stem, self.blocks = nn.Conv2d(2, 4, 3, padding=1), nn.ModuleList()
        width = 4
        for op, out in ops:
            wide = out if op in ("conv", "project") else width * 2 if op == "grouped" else width
            block = nn.ModuleDict({"main": nn.Conv2d(width, wide, 3, padding=1, bias=op != "conv")})
            if op == "depthwise":
                block = nn.ModuleDict({"main": nn.Conv2d(width, width, 3, padding=1, groups=width)})
            elif op == "grouped":
                block = nn.ModuleDict({"main": nn.Conv2d(width, wide, 1, groups=2 if width % 2 == 0 else 1)})
            elif op == "concat":
                block["main"], wide = nn.Conv2d(width, out, 1), width + out
            elif op == "project":
                block["skip"] = nn.Conv2d(width, wide, 1)
            elif op == "norm":
                block["bn"] = nn.BatchNorm2d(width)
            self.blocks.append(block)
            width = wide
        self.head = nn.Linear(width * (16 if flatten else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.stem(x))
        for (op, _), block in zip(self.ops, self.blocks, strict=True):
            y = block["main"](x)
            match op:
                case "residual":
                    y = y + x
                case "concat":
                    y = torch.cat([x, y], 1)
                case "project":
                    y = y + block["skip"](x)
                case "norm":
                    y = block["bn"](y)
            x = relu(y)
        return self.head(x.flatten(1) if self.flatten else x.mean((2, 3)))


graphs = st.tuples(
    st.lists(st.tuples(st.sampled_from(OPS), st.integers(2, 6)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 9),
)


def build(graph: Any) -> tuple[nn.Module, Tensor]:
    ops, flatten, seed = graph
    torch.manual_seed(seed)
    return unequal(RandomNet(ops, flatten)), torch.randn(3, 2, 4, 4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(graphs)
def test_slices_equal_silence(graph: Any) -> None:
    model, inputs = build(graph)
    twin, cut, alive = copy.deepcopy(model), copy.deepcopy(model), {}
    for group in channel_groups(model, inputs, call):
        if group.blocked is not None:
            assert group.ends_in_output or "several layers" in group.blocked or "single" in group.blocked
            continue
        units = list(range(0, group.width, 2)) if group.width > 2 else [1]
        made = [m for m in group.members if m.role != "consumes" and "running" not in m.tensor]
        silence_(twin, [(m.tensor, tuple(i for unit in units for i in m.indices[unit])) for m in made])
        cut = SliceChannels(group.name, group.without(units, alive)).apply(cut)
    assert torch.allclose(answer(cut, inputs), answer(twin, inputs), atol=1e-5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(graphs, st.sampled_from([0.3, 0.5]), st.sampled_from([1, 2]))
def test_cut_nets_run_and_replay(graph: Any, ratio: float, round_to: int) -> None:
    model, inputs = build(graph)
    cut, steps = run(model, inputs, Channels(pruning_ratio=ratio, round_to=round_to))
    replayed = meta_copy(model)
    for step in steps:
        replayed = step.apply(replayed) if isinstance(step, Edit) else replayed
    put_state(replayed, *take_state(cut))
    assert torch.equal(answer(replayed, inputs), answer(cut, inputs))
    assert size(cut) < size(model) or not any(isinstance(step, Edit) for step in steps)
