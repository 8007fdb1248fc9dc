"""The rows of the ResNets: ours and Torch-Pruning's at equal MACs, without training and after three epochs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from prune_peer import Peer
from torch import nn

from paring.core.edit import Declined
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.distill.response import Response
from paring.finetune import Finetune
from paring.graph.groups import ChannelGroup
from paring.graph.unit_scores import Scores, unit_scores
from paring.measure.macs import macs
from paring.prune.by_clock import ByClock
from paring.prune.channels import Channels
from paring.quantize.static import Static

FACTORS = (2, 2.5, 4)
OURS = {
    "obs": Channels(importance="obs", scope="global"),
    "obs, widths by clock": Channels(importance="obs", scope="global", round_to=ByClock()),
    "taylor": Channels(importance="taylor", scope="global"),
    "l2": Channels(importance="l2", scope="layer"),
    "activation": Channels(importance="activation", scope="global"),
}
PEERS = [Peer(importance, scope) for importance in ("magnitude", "taylor") for scope in ("global", "local")]  # type: ignore[arg-type]
RECOVERY = Finetune(
    epochs=3, learning_rate=2e-3, warmup=0.1, objective=Response(temperature=4.0, alpha=0.9), precision="bf16"
)
BEST = ("obs", Peer("magnitude", "local", reestimate=True))  # by validation at 2.5x

SEEDS = 3  # of the recovery; what does not train has one

Made = dict[str, Any]
TaskOf = Callable[[int], Task]
Prune = Callable[[int, str, tuple[Pass, ...]], Made]
Judge = Callable[[int, str, nn.Module], Made]


def jobs(part: str, task_of: TaskOf, prune: Prune, judge: Judge) -> dict[str, Callable[[], Made]]:
    """Row name -> what makes it."""
    rows: dict[str, Callable[[], Made]] = {f"{part}: dense": partial(prune, 0, f"{part}: dense", ())}
    for factor in FACTORS:
        for name in OURS:
            key = f"{part}: {factor}x, ours, {name}"
            rows[key] = partial(_ours, task_of, prune, 0, key, name, factor)
        for peer in PEERS:
            for one in (peer, replace(peer, reestimate=True)):
                key = f"{part}: {factor}x, {_named(one)}"
                rows[key] = partial(_peer, task_of, judge, 0, key, one, factor)
    ours, peer = BEST
    for seed in range(SEEDS):
        key = f"{part}: 2.5x, ours, {ours}, recovered, seed {seed}"
        rows[key] = partial(_ours, task_of, prune, seed, key, ours, 2.5, (RECOVERY,))
        key = f"{part}: 2.5x, {_named(peer)}, recovered, seed {seed}"
        rows[key] = partial(_peer, task_of, judge, seed, key, peer, 2.5, RECOVERY)
    key = f"{part}: 2.5x, ours, {ours}, recovered, int8, seed 0"
    rows[key] = partial(_ours, task_of, prune, 0, key, ours, 2.5, (RECOVERY, Static()))
    return rows


def _named(peer: Peer) -> str:
    return f"torch-pruning, {peer.importance} {peer.scope}{' + norms' if peer.reestimate else ''}"


def _ours(
    task_of: TaskOf, prune: Prune, seed: int, key: str, name: str, factor: float, rest: tuple[Pass, ...] = ()
) -> Made:
    task, step = task_of(seed), OURS[name]
    ratio = _ratio(step, task, macs(task.model, task.example_inputs) / factor)
    return prune(seed, key, (replace(step, pruning_ratio=ratio), *rest))


_scenes: dict[tuple[str, Channels], tuple[list[ChannelGroup], Scores]] = {}


def _scene(step: Channels, task: Task) -> tuple[list[ChannelGroup], Scores]:
    """Groups and scores of the task's model, once."""
    if (task.name, step) not in _scenes:
        _scenes[task.name, step] = _scored(step, task)
    return _scenes[task.name, step]


def _scored(step: Channels, task: Task) -> tuple[list[ChannelGroup], Scores]:
    groups = [group for group in step.groups(copy.deepcopy(task.model), task) if isinstance(group, ChannelGroup)]
    return groups, unit_scores(task.model, groups, step.importance, task, step.name)


def _ratio(step: Channels, task: Task, most: float) -> float:
    """The least pruning ratio that leaves at most so many MACs, to a thousandth."""
    groups, scored = _scene(step, task)
    low, high = 0, 999
    while high - low > 1:
        middle = (low + high) // 2
        model = copy.deepcopy(task.model).eval()
        trial = replace(step, pruning_ratio=middle / 1000, reconstruct=False, reestimate=False, on_unsupported="skip")
        emptied = False
        for done in trial._cut(model, task, groups, [u for u in scored.units if not isinstance(u, str)], scored):
            if isinstance(done, Declined):
                emptied |= done.reason.startswith("pruning_ratio")
            elif hasattr(done, "apply"):
                model = done.apply(model)
        if not emptied and macs(model, task.example_inputs) > most:
            low = middle
        else:
            high = middle
    return high / 1000


def _peer(
    task_of: TaskOf, judge: Judge, seed: int, key: str, peer: Peer, factor: float, recovery: Finetune | None = None
) -> Made:
    task = task_of(seed)
    model = peer.run(task, macs(task.model, task.example_inputs) / factor)
    if recovery is not None:
        torch.manual_seed(task.seed)
        for _ in recovery.run(model, task):
            pass
    return judge(seed, key, model) | {"recipe": [str(peer), *([str(recovery)] if recovery else [])]}
